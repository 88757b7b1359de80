/* SPDX-License-Identifier: Apache-2.0 */
#include "core/readiness.h"

#include <string.h>

#include "base/text.h"

/* Stands for "whichever process runs now", until its run id is read. */
#define RUN_ID_RESUMED "resumed"

void readiness_resume(struct readiness *readiness)
{
    readiness->ready = true;
    text_format(readiness->run_id, sizeof readiness->run_id, "%s", RUN_ID_RESUMED);
    text_format(readiness->reason, sizeof readiness->reason,
                "it was ready before the agent restarted");
}

static bool readiness_say(struct readiness *r, bool ready, const char *reason)
{
    r->ready = ready;
    text_format(r->reason, sizeof r->reason, "%s", reason);
    return ready;
}

/* More than half of the primaries with slots are connected and not failing in the own view. */
static bool readiness_sees_majority(const struct view *view)
{
    size_t voters = 0;
    size_t seen = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!(n->flags & NODE_PRIMARY) || !n->slot_count)
            continue;
        voters++;
        seen += n->connected && !(n->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR));
    }
    return voters && seen > voters / 2;
}

/*
 * Slots that nobody serves make cluster_state fail for every server that wants full coverage. That is
 * another shard's matter: a pod that waits for it would hold up the very roll that is to mend it.
 */
static bool readiness_lacks_slots(const struct view *view)
{
    unsigned served = 0;
    for (size_t i = 0; i < view->node_count; i++)
        if (!(view->nodes[i].flags & NODE_FAIL))
            served += view->nodes[i].slot_count;
    return served < SLOT_COUNT;
}

/* Pods of the StatefulSet's new template and of the old one are there, and this one is new. */
static bool readiness_is_in_roll(const struct world *w, const struct pod *pod)
{
    for (size_t i = 0; pod->updated && i < w->pod_count; i++)
        if (!w->pods[i].updated)
            return true;
    return false;
}

/*
 * A replica of the pod's shard that answers and has no copy yet. One that does not answer is not waited
 * for: with OrderedReady it may come only after this pod.
 */
static const struct pod *readiness_unsynced_mate(const struct world *w, const struct pod *pod)
{
    const struct node_id *primary =
        pod->server.primary ? &pod->server.id : &pod->server.view->myself->primary;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct server *s = &w->pods[i].server;
        if (&w->pods[i] != pod && world_view_fresh(w, &w->pods[i]) && !s->primary && !s->link_up &&
            node_id_eq(&s->view->myself->primary, primary))
            return &w->pods[i];
    }
    return NULL;
}

/* FACTS 12, for this pod only; in a rolling update, for its shard's copies, too. */
static bool readiness_strict(struct readiness *r, const struct world *w, const struct pod *pod)
{
    const struct server *s = &pod->server;
    bool formed = w->record && w->record->state == RECORD_FORMED;
    if (world_server_virgin(w, pod)) {
        if (w->record_presence == PRESENCE_ABSENT || (w->record && !formed))
            return readiness_say(r, true,
                                 "an empty server that waits for the cluster to be formed");
        return readiness_say(r, false,
                             formed ? "an empty server that has not joined the cluster yet"
                                    : "an empty server; whether a cluster exists is not known yet");
    }
    if (!world_view_fresh(w, pod))
        return readiness_say(r, false, "its view of the cluster was not read yet");
    if (!s->state_ok && !readiness_lacks_slots(s->view))
        return readiness_say(r, false, "the cluster is not ok in its eyes");
    if (!readiness_sees_majority(s->view))
        return readiness_say(r, false, "it is not connected to a majority of the primaries");
    if (s->primary && !s->view->myself->slot_count)
        return readiness_say(r, false, "a primary without slots: its part is not given yet");
    if (!s->primary && !s->link_up)
        return readiness_say(r, false, "a replica that is not in sync with its primary yet");
    const struct pod *mate = readiness_is_in_roll(w, pod) ? readiness_unsynced_mate(w, pod) : NULL;
    if (mate) {
        r->ready = false;
        text_format(r->reason, sizeof r->reason,
                    "in a rolling update, and %s of its shard is not in sync yet", mate->name);
        return false;
    }
    return readiness_say(r, true,
                         s->primary ? "a primary that serves its slots"
                                    : "a replica in sync with its primary");
}

/* Later: answers, and as a replica is not cut off for long. */
static void readiness_lenient(struct readiness *r, const struct world *w, const struct server *s)
{
    if (s->primary || s->link_up) {
        r->link_down_ms = 0;
        (void)readiness_say(r, true, s->primary ? "a primary that answers" : "a replica in sync");
        return;
    }
    if (!r->link_down_ms)
        r->link_down_ms = w->now_ms;
    bool long_cut = w->now_ms - r->link_down_ms > READINESS_LINK_DOWN_MS;
    (void)readiness_say(r, !long_cut,
                        long_cut ? "a replica cut off from its primary for more than 30 s"
                                 : "a replica that lost its primary a moment ago");
}

void readiness_step(struct readiness *readiness, const struct world *world)
{
    const struct pod *pod = world->me == NO_POD ? NULL : &world->pods[world->me];
    if (!pod || pod->server.reach == REACH_UNKNOWN)
        return; /* nothing was heard: the last verdict stands */
    if (pod->server.reach == REACH_DENIED) {
        /* It answers, but not us: a rotation gone wrong must not take every pod out of service. */
        (void)readiness_say(readiness, readiness->ready, "the agent has no access to its server");
        return;
    }
    bool fresh = world_server_fresh(world, pod);
    if (!fresh && world->settling && pod->server.reach == REACH_OK)
        return; /* nobody asked while the agent itself did not run */
    if (!fresh) {
        (void)readiness_say(readiness, false,
                            pod->server.reach == REACH_LOADING ? "its server is loading data"
                                                               : "its server does not answer");
        return;
    }
    const char *run_id = pod->server.run_id;
    if (strcmp(readiness->run_id, RUN_ID_RESUMED) == 0)
        text_format(readiness->run_id, sizeof readiness->run_id, "%s", run_id);
    if (strcmp(readiness->run_id, run_id) == 0) {
        readiness_lenient(readiness, world, &pod->server);
        return;
    }
    /* A virgin's readiness is not the strict test's: it must pass that once it has joined. */
    if (readiness_strict(readiness, world, pod) && !world_server_virgin(world, pod))
        text_format(readiness->run_id, sizeof readiness->run_id, "%s", run_id);
    readiness->link_down_ms = 0;
}
