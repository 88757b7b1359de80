/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: real planners (core) in modelled agents, over a model of Redis Cluster and of the
 * Kubernetes API, in virtual time. One struct sim is one schedule; everything in it follows from
 * its seed. See README.md.
 */
#ifndef MUSTER_SIM_SIM_H
#define MUSTER_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rng.h"
#include "checks.h"
#include "clock.h"
#include "faults.h"
#include "model_agent.h"
#include "model_api.h"
#include "model_redis.h"
#include "stats.h"

#define FOREIGN_MAX 4
#define REDIS_MAX (PODS_MAX + FOREIGN_MAX)
#define ADDR_MAX 512
#define ADDR_NOWHERE (ADDR_MAX - 1) /* where nobody ever is */
#define ADDR_TEXT_SIZE 16
#define HOST_API REDIS_MAX
#define HOSTS (REDIS_MAX + 1)
#define TRACE_LINES 4000
#define TRACE_WIDTH 200

/* What a schedule is made of, before its faults (schedule.c draws it from the seed). */
struct setup {
    int pods;
    int replicas_per_primary;
    const struct redis_traits *traits;
    bool volumes;
    bool reform_lost; /* policy.lostCluster: reform */
    bool ordered_ready;
    bool announce_by_hook; /* else the agent has to set cluster-announce-ip */
    bool no_failover_by_hook;
    int64_t node_timeout_ms;
    int64_t diskless_delay_s;
    bool placement; /* policy.placement: enforce */
    int64_t placement_interval_ms;
    bool crash_off; /* policy.crashHandover: off, else auto */
    bool scaling;   /* policy.scaling: auto */
    bool any_age;   /* cluster-replica-validity-factor 0, else 10 */
    int zones;
    size_t sweep_max;       /* OBSERVE_SWEEP_MAX, or few: to watch as in a large cluster */
    int64_t lan_us;         /* typical latency between pods */
    int64_t api_us;         /* to the API */
    unsigned loss_permille; /* of requests of agents: they time out */
    int clock_ppm;          /* clock rates of the agents differ by up to this */
};

struct options {
    int pods;                       /* 0 = by the seed */
    const struct form_plan *form;   /* a formation only, of this shape; or NULL */
    const struct scale_plan *scale; /* a formation and a change of the size; or NULL */
    uint32_t guards_off;
    uint64_t faults; /* mask of the kinds that may happen, by index; 0 = all */
    size_t kinds; /* only the first so many kinds: those there were when a seed was kept; 0 = all */
    bool scaling; /* policy.scaling: auto, and the size changes again and again */
    bool untraced; /* nobody will read the trace: a schedule that fails is run again with one */
    bool verbose;
};

struct sim {
    uint64_t seed;
    struct options options;
    struct setup setup;
    int64_t now_us;
    struct queue queue;
    struct rng rng;
    uint64_t next_gen;

    struct slot_range atoms[ATOMS_MAX];
    int atom_count;
    uint64_t acked[ATOMS_MAX]; /* the newest acknowledged write */
    uint64_t writes;

    struct redis redis[REDIS_MAX]; /* pods first, then foreign servers */
    int redis_count;
    int host_of_addr[ADDR_MAX]; /* host + 1; 0 = nobody */
    int addr_count;
    uint32_t next_id;
    int64_t latency_us[HOSTS][HOSTS];
    unsigned char cut[HOSTS][HOSTS]; /* partitions between the two */

    struct api api;
    struct pod_model pods[PODS_MAX];
    struct agent agents[PODS_MAX];
    struct arena turn_arena; /* of the agent that is planning */

    uint64_t commands; /* state-changing commands that arrived at servers */
    struct faults faults;
    struct checks checks;

    struct stats *stats;
    char violation[512]; /* "" = none; the first one ends the schedule */
    char *trace;         /* TRACE_LINES lines of TRACE_WIDTH; NULL = untraced */
    uint64_t trace_count;
};

void sim_init(struct sim *sim, uint64_t seed, const struct options *options, struct stats *stats);
void sim_deinit(struct sim *sim);

/* Schedules `fn` after `delay_us`. */
void sim_after(struct sim *sim, int64_t delay_us, event_fn fn, int who, int other, uint64_t run,
               void *data);

/* Runs events up to and including `until_us`, or to the first violation. */
void sim_run(struct sim *sim, int64_t until_us);

/* True while packets pass between two hosts (of agents and servers alike; HOST_API). */
bool sim_linked(const struct sim *sim, int a, int b);

/* A number in low..high. */
int64_t sim_between(struct sim *sim, int64_t low, int64_t high);
bool sim_chance(struct sim *sim, unsigned permille);

/* Addresses: a fresh one for a host, or a given one taken over; 0 gives it back. */
int sim_new_addr(struct sim *sim);
void sim_bind_addr(struct sim *sim, int addr, int host);
void sim_addr_text(int addr, char *dst, size_t size);
int sim_addr_parse(const char *ip);               /* 0 if it is none of ours */
int sim_host_at(const struct sim *sim, int addr); /* -1 = nobody */

/* Cuts atoms so that the range is a whole number of them. */
void sim_tell_apart(struct sim *sim, struct slot_range range);

static inline struct slot_range slot_one(unsigned slot)
{
    return (struct slot_range){(uint16_t)slot, (uint16_t)slot};
}

void sim_trace(struct sim *sim, const char *who, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void sim_print_trace(const struct sim *sim, uint64_t last);

/* The schedule has broken a rule: only the first is kept. */
void sim_violation(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
