/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule.h"

#include <string.h>

#include "core/observe.h"
#include "core/placement.h"

/* After the last fault: detection, election and its retries go by NT; bans and backoffs do not. */
#define CONVERGE_US(nt_ms) (SECONDS(150) + 6 * MS(nt_ms))
/* A hand-over after the other, each after the pauses of core/failover.h and core/place.h. */
#define PLACE_US SECONDS(240)
#define PLACE_MOVES 8
/* Some thousand slots, portion by portion. */
#define SCALE_US SECONDS(600)
#define STILL_SECONDS 5
#define QUIET_US SECONDS(600)

static void on_write(struct sim *sim, const struct event *event)
{
    (void)event;
    if (sim->setup.scaling) {
        scale_write(sim);
        sim_after(sim, sim_between(sim, MS(20), MS(400)), on_write, 0, 0, 0, NULL);
        return;
    }
    int k = (int)rng_below(&sim->rng, (uint64_t)sim->atom_count);
    int first = (int)rng_below(&sim->rng, PODS_MAX);
    for (int i = 0; i < PODS_MAX; i++) {
        struct redis *r = &sim->redis[(first + i) % PODS_MAX];
        if (!redis_running(sim, r) || !r->state_ok || r->owner[sim->atoms[k].first] != 0 ||
            sim->now_us < r->writes_paused_until_us)
            continue;
        repl_write(sim, r, k, ++sim->writes);
        sim->acked[k] = sim->writes;
        break;
    }
    sim_after(sim, sim_between(sim, MS(200), SECONDS(4)), on_write, 0, 0, 0, NULL);
}

static void setup_latencies(struct sim *sim)
{
    for (int a = 0; a < HOSTS; a++) {
        for (int b = 0; b <= a; b++) {
            int64_t way = sim_between(sim, sim->setup.lan_us / 2, sim->setup.lan_us * 2);
            sim->latency_us[a][b] = sim->latency_us[b][a] = a == b ? 20 : way;
        }
    }
}

/* Keys of slots that any formation may give to different shards. */
static void setup_atoms(struct sim *sim)
{
    for (unsigned shards = 1; shards <= (unsigned)sim->setup.pods; shards++) {
        bool possible =
            shards * (1u + (unsigned)sim->setup.replicas_per_primary) <= (unsigned)sim->setup.pods;
        for (unsigned i = 0; possible && i < shards; i++)
            sim_tell_apart(sim, slots_of_shard(i, shards));
    }
}

static int setup_pods(struct sim *sim)
{
    if (sim->options.pods)
        return sim->options.pods;
    return sim_chance(sim, 500) ? 6 : (int)sim_between(sim, 3, 9);
}

static void schedule_setup(struct sim *sim)
{
    static const int64_t timeouts[] = {15000, 15000, 15000, 5000, 2000};
    struct setup *s = &sim->setup;
    s->pods = setup_pods(sim);
    s->replicas_per_primary = sim_chance(sim, 700) ? 1 : (int)sim_between(sim, 0, 2);
    if (s->pods < 1 + s->replicas_per_primary)
        s->replicas_per_primary = 0;
    if (sim->options.form)
        s->replicas_per_primary = sim->options.form->replicas_per_primary;
    if (sim->options.scaling)
        scale_setup(sim);
    s->traits = sim_chance(sim, 600) ? &redis_traits_70 : &redis_traits_valkey9;
    s->volumes = sim_chance(sim, 600) || sim->options.scaling;
    s->scaling = sim->options.scaling;
    s->ordered_ready = sim_chance(sim, 150);
    s->announce_by_hook = !sim_chance(sim, 150);
    s->no_failover_by_hook = s->announce_by_hook;
    s->node_timeout_ms = timeouts[rng_below(&sim->rng, 5)];
    s->diskless_delay_s = sim_chance(sim, 700) ? 5 : 0;
    s->zones = (int)sim_between(sim, 1, 3);
    if (sim->options.form)
        s->zones = sim->options.form->zones;
    if (sim->options.scale)
        scale_setup_plan(sim, sim->options.scale);
    s->lan_us = sim_between(sim, 50, 1000);
    s->api_us = sim_between(sim, MS(1), MS(20));
    s->loss_permille = sim_chance(sim, 700) ? 0 : (unsigned)sim_between(sim, 1, 20);
    s->clock_ppm = sim_chance(sim, 850) ? 100 : (int)sim_between(sim, 1000, 100000);
    /* Not drawn, and not for the kept seeds of before: they would be other schedules. */
    bool later = !sim->options.kinds || sim->options.kinds > faults_find("unsynced-heir");
    s->any_age = later && s->no_failover_by_hook && sim->seed % 3 == 1;
    later = !sim->options.kinds || sim->options.kinds > faults_find("node-lost");
    s->placement = later && !sim->options.form && sim->seed % 2 == 0;
    s->placement_interval_ms = !sim->options.kinds && sim->seed % 8 >= 4 ? 60000 : 5000;
    s->crash_off = later && sim->seed % 4 == 2;
    setup_latencies(sim);
    if (s->scaling)
        scale_setup_keys(sim);
    else
        setup_atoms(sim);
    s->sweep_max = sim->seed % 4 == 3 ? 2 : OBSERVE_SWEEP_MAX;
    api_init(sim);
    for (int i = 0; i < s->pods; i++)
        sim->pods[i].late_us = sim_chance(sim, 150) ? sim_between(sim, SECONDS(1), SECONDS(30)) : 0;
    pods_init(sim, s->pods);
    sim_trace(
        sim, "setup", "%d pods, %d replicas per primary, %s, %s, NT %lld ms, %s%s%s%s%s", s->pods,
        s->replicas_per_primary, s->traits->name, s->volumes ? "volumes" : "no volumes",
        (long long)s->node_timeout_ms, s->ordered_ready ? "ordered" : "parallel",
        s->announce_by_hook ? "" : ", servers start without an announced address",
        s->any_age ? ", replicas of any age are elected" : "",
        s->placement ? ", roles are placed" : "", s->crash_off ? ", crashes are left alone" : "");
    sim_after(sim, SECONDS(1), on_write, 0, 0, 0, NULL);
}

static bool schedule_step(struct sim *sim)
{
    sim_run(sim, sim->now_us + SECONDS(1));
    return !sim->violation[0];
}

/* True once everything has been in order for some seconds. */
static bool schedule_converge(struct sim *sim)
{
    int still = 0;
    int64_t since = sim->now_us;
    int64_t limit_us = CONVERGE_US(sim->setup.node_timeout_ms);
    limit_us +=
        sim->setup.placement ? PLACE_US + PLACE_MOVES * MS(sim->setup.placement_interval_ms) : 0;
    limit_us += sim->setup.scaling ? SCALE_US : 0;
    while (still < STILL_SECONDS) {
        if (!schedule_step(sim))
            return false;
        if (sim->faults.planned > 0 || sim->now_us < sim->faults.last_us) {
            since = sim->now_us;
            still = 0;
            continue;
        }
        if (sim->setup.scaling)
            scale_person(sim);
        const char *what = check_converged(sim);
        still = what ? 0 : still + 1;
        if (what && sim->now_us - since > limit_us) {
            sim_violation(sim, "I10: not in order %lld s after the last fault: %s",
                          (long long)((sim->now_us - since) / SECONDS(1)), what);
            return false;
        }
    }
    uint64_t took = (uint64_t)((sim->now_us - since) / 1000);
    sim->stats->converge_ms_sum += took;
    if (took > sim->stats->converge_ms_max)
        sim->stats->converge_ms_max = took;
    return true;
}

static bool schedule_finish(struct sim *sim)
{
    if (!schedule_converge(sim))
        return false;
    check_kept(sim);
    check_keys(sim);
    sim->checks.quiet = true;
    sim_trace(sim, "sim", "in order: from here on nothing may be sent");
    int64_t end = sim->now_us + QUIET_US;
    if (end < SECONDS(SCHEDULE_SECONDS_MIN))
        end = SECONDS(SCHEDULE_SECONDS_MIN);
    sim_run(sim, end);
    const char *what = sim->violation[0] ? NULL : check_converged(sim);
    if (what)
        sim_violation(sim, "I10: it was in order, and now %s", what);
    check_keys(sim);
    return !sim->violation[0];
}

bool schedule_form(struct sim *sim, uint64_t seed, const struct form_plan *plan,
                   struct stats *stats, bool *ret_killed)
{
    struct options options = {.pods = plan->pods, .form = plan};
    sim_init(sim, seed, &options, stats);
    schedule_setup(sim);
    sim->faults.act_at_send = plan->kill_at;
    bool ok = schedule_converge(sim);
    *ret_killed = plan->kill_at && !sim->faults.act_at_send;
    return ok;
}

bool schedule_scale(struct sim *sim, uint64_t seed, const struct scale_plan *plan,
                    struct stats *stats, bool *ret_killed)
{
    struct options options = {.pods = plan->pods,
                              .scale = plan,
                              .scaling = true,
                              .untraced = !plan->verbose,
                              .verbose = plan->verbose};
    sim_init(sim, seed, &options, stats);
    schedule_setup(sim);
    *ret_killed = false;
    if (!schedule_converge(sim))
        return false;
    pods_scale(sim, plan->to);
    sim->faults.act_at_send = plan->kill_at;
    sim->faults.last_us = sim->now_us + SECONDS(5);
    bool ok = schedule_converge(sim);
    *ret_killed = plan->kill_at && !sim->faults.act_at_send;
    if (ok)
        check_keys(sim);
    return !sim->violation[0];
}

bool schedule_run(struct sim *sim, uint64_t seed, const struct options *options,
                  struct stats *stats)
{
    sim_init(sim, seed, options, stats);
    schedule_setup(sim);
    sim->faults.kinds = options->faults ? options->faults : UINT64_MAX;
    if (options->scaling && !options->faults)
        sim->faults.kinds = faults_beside_scaling(!options->kinds);
    int count = (int)sim_between(sim, SCHEDULE_FAULTS_MIN, 8);
    int early = (int)sim_between(sim, 0, count / 2);
    faults_plan(sim, early, SECONDS(1), SECONDS(12));
    faults_plan(sim, count - early, SECONDS(1), sim_between(sim, SECONDS(30), SECONDS(300)));
    bool ok = schedule_finish(sim);
    stats->schedules++;
    stats->failures += !ok;
    stats->simulated_s += (uint64_t)(sim->now_us / SECONDS(1));
    return ok;
}
