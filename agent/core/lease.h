/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election over a coordination.k8s.io/v1 Lease, as a pure step function: the API's answers
 * and the local clock in, what to send out. After client-go's leaderelection: a holder is believed
 * until the Lease has not changed for its duration on OUR clock, so clock skew between machines
 * does not matter, only its rate. A Lease does not fence; lease_may_act() is the fence on our side.
 *
 * Times are CLOCK_BOOTTIME milliseconds: they go on while the machine is suspended.
 */
#ifndef MUSTER_CORE_LEASE_H
#define MUSTER_CORE_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "core/record.h"

#define RESOURCE_VERSION_SIZE 64
#define LEASE_TIME_SIZE 40
/* "<pod>_<pod uid>": a container that restarts in the same pod may take its own Lease up again at
 * once, since its earlier process is dead; a twin of the same name on a lost node may not. */
#define LEASE_HOLDER_SIZE (POD_NAME_SIZE + 1 + UID_SIZE)

/* The Lease object as read from the API. */
struct lease {
    char holder[LEASE_HOLDER_SIZE]; /* "" = released */
    int duration_s;
    int64_t transitions;
    char renew_time[LEASE_TIME_SIZE]; /* as text: only compared for change */
    char resource_version[RESOURCE_VERSION_SIZE];
};

enum lease_verb {
    LEASE_IDLE = 0, /* nothing to send now */
    LEASE_GET,
    LEASE_CREATE,
    LEASE_UPDATE, /* take, renew or release: PUT with resource_version */
};

struct lease_state {
    char me[LEASE_HOLDER_SIZE];
    int duration_s;
    struct rng rng;

    enum lease_verb in_flight;
    int64_t sent_ms; /* of the request in flight */
    int64_t next_ms; /* nothing before this */
    unsigned failures;
    unsigned conflicts; /* writes refused in a row while nobody changed the Lease */

    bool known;  /* `seen` or `absent` was read or written at least once */
    bool reread; /* an outcome is unknown or was refused: read before anything else */
    bool absent; /* the last GET answered 404 */
    struct lease seen;
    int64_t changed_ms; /* when `seen` was last seen to change */
    int64_t held_ms;    /* sending time of the last renewal that succeeded; 0 = not the holder */
    bool releasing;

    size_t crowd;        /* lease_set_crowd() */
    bool watching;       /* of a large crowd: the next look tells whether the holder still renews */
    int64_t believed_ms; /* until then the holder is believed though nobody looked */
};

/* Of so many agents each looks as often as a holder renews: 20 in 5 to 7.5 s. */
#define LEASE_CROWD_MAX 20
/* Above, all of them together look so often each second, whatever their number. */
#define LEASE_LOOKS_PER_SECOND 4

/* `me`: the holder's identity, "<pod>_<pod uid>". */
void lease_init(struct lease_state *state, const char *me, int duration_s, uint64_t seed);

/*
 * How many agents stand for the Lease, as far as is known; 0 = few. In a crowd above LEASE_CROWD_MAX
 * each looks twice in a row, a duration apart, which tells whether the holder still renews, and then
 * rests the longer the more they are. At any time some are between their two looks: who leads next
 * is found as soon as in a small crowd.
 */
void lease_set_crowd(struct lease_state *state, size_t count);

/*
 * What to send now; for CREATE and UPDATE *ret_lease is the object to send (renew_time is filled in
 * by the sender, in wall-clock time). At most one request is in flight: the caller reports its end
 * with exactly one of the lease_on_ functions.
 */
enum lease_verb lease_step(struct lease_state *state, int64_t boot_ms, struct lease *ret_lease);

/* The answer to a GET, or to a CREATE or UPDATE that succeeded: the object as the server has it. */
void lease_on_object(struct lease_state *state, int64_t boot_ms, const struct lease *lease);
void lease_on_absent(struct lease_state *state, int64_t boot_ms);   /* 404 */
void lease_on_conflict(struct lease_state *state, int64_t boot_ms); /* 409: somebody was faster */
/* Any other failure; `retry_after_ms` from the server, or 0. */
void lease_on_failure(struct lease_state *state, int64_t boot_ms, int64_t retry_after_ms);

/* Gives the Lease back with the next step, for a clean end. */
void lease_release(struct lease_state *state);

/*
 * The fence (DESIGN 4): true while the last successful renewal was SENT less than 2/3 of the
 * duration ago. Checked in the same callback as every state-changing send.
 */
bool lease_may_act(const struct lease_state *state, int64_t boot_ms);

/* The holder as last seen, "" when unknown or expired on our clock. */
const char *lease_holder(const struct lease_state *state, int64_t boot_ms);

/* When lease_step should be called again at the latest. */
int64_t lease_next_ms(const struct lease_state *state);

#endif
