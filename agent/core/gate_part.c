/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gate_part.h"

#include <string.h>

#include "base/text.h"

const struct record *gate_record(const struct world *world)
{
    return world->record ? world->record : world->record_copy;
}

struct node_id gate_recorded_id(const struct world *world, const struct node_id *claimed)
{
    const struct record *record = gate_record(world);
    const struct record_member *m = !record        ? NULL
                                    : world->seats ? record_find_id(record, claimed)
                                                   : record_find_pod(record, world->my_pod);
    return m ? m->id : (struct node_id){""};
}

static bool part_is_followed(const struct view *view, const struct node_id *id)
{
    for (size_t i = 0; i < view->node_count; i++)
        if (node_id_eq(&view->nodes[i].primary, id))
            return true;
    return false;
}

static const struct gate_word *part_word(const struct world *world, const struct pod *pod,
                                         int64_t since_ms)
{
    return pod->told.heard_ms >= since_ms ? world_gate_word(world, pod) : NULL;
}

static bool part_view_is_new(const struct world *world, const struct pod *pod, int64_t since_ms)
{
    return pod->server.view && world_view_fresh(world, pod) && pod->server.view_ms >= since_ms;
}

/* Its server answers at another pod, or waits at that one's gate with its data. */
static bool part_is_elsewhere(const struct world *world, const struct node_id *id, int64_t since_ms)
{
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me)
            continue;
        const struct gate_word *word = part_word(world, pod, since_ms);
        bool answers = world_server_fresh(world, pod) && pod->server.seen_ms >= since_ms;
        if (word ? word->data && node_id_eq(&word->id, id)
                 : answers && node_id_eq(&pod->server.id, id))
            return true;
    }
    return false;
}

/* Of which node a part is looked for. */
struct part_of {
    struct node_id claimed;  /* the volume's */
    bool proven;             /* whose data is there: its part it can take up */
    struct node_id recorded; /* the record's for the own pod */
    bool former;             /* gate_find_former() */
    int64_t since_ms;
};

static bool part_is_answered(const struct world *world, const struct node_id *id)
{
    for (size_t i = 0; i < world->pod_count; i++)
        if (world_server_fresh(world, &world->pods[i]) && node_id_eq(&world->pods[i].server.id, id))
            return true;
    return false;
}

static bool part_is_ours(const struct world *world, const struct view_node *node,
                         const struct part_of *of)
{
    bool addressed = node->ip[0] && strcmp(node->ip, world->my_ip) == 0;
    if (node_id_eq(&node->id, &of->claimed))
        return !of->proven;
    if (!of->former)
        return (addressed || node_id_eq(&node->id, &world->past.id)) &&
               !part_is_elsewhere(world, &node->id, of->since_ms);
    if (addressed || node_id_eq(&node->id, &of->recorded))
        return true;
    return !node_id_is_set(&of->claimed) && !node_id_is_set(&of->recorded) &&
           !part_is_answered(world, &node->id);
}

bool gate_is_viewer(const struct world *world, const struct pod *pod)
{
    const struct record *record = gate_record(world);
    if (!world_view_fresh(world, pod) || !pod->server.view)
        return false;
    return record ? record_find_id(record, &pod->server.id) != NULL
                  : pod->server.view->node_count > 1;
}

/* Its name is none that the set makes at its present size. */
static bool part_is_beyond(const struct world *world, const char *pod)
{
    char first[POD_NAME_SIZE];
    text_format(first, sizeof first, "%s-%d", world->set.name, world->set.replicas);
    return world->arbiter == ARBITER_LEASE && record_name_cmp(pod, first) >= 0;
}

/* Scaled away, and its data with it: nobody can ask it, or needs to. */
static bool part_is_gone(const struct world *world, const char *pod)
{
    return !world->set.volumes && part_is_beyond(world, pod) && !world_pod_by_name(world, pod);
}

size_t gate_others(const struct world *world)
{
    const struct record *record = gate_record(world);
    size_t count = record ? 0 : world->pod_count;
    for (size_t i = 0; record && i < record->member_count; i++)
        count += !part_is_gone(world, record->members[i].pod);
    return count ? count - 1 : 0;
}

static void part_look(const struct world *world, const struct pod *pod, const struct part_of *of,
                      struct gate_part *part)
{
    const struct view *view = pod->server.view;
    for (size_t n = 0; !part->node && n < view->node_count; n++) {
        const struct view_node *node = &view->nodes[n];
        if (!(node->flags & (NODE_MYSELF | NODE_HANDSHAKE)) && part_is_ours(world, node, of) &&
            (node->slot_count || part_is_followed(view, &node->id))) {
            part->node = node;
            part->viewer = pod;
        }
    }
}

struct gate_part gate_find_part(const struct world *world, const struct gate_claim *claim)
{
    int64_t since_ms = claim->asked_ms;
    struct part_of of = {.claimed = claim->id, .proven = claim->data, .since_ms = since_ms};
    struct gate_part part = {.others = gate_others(world)};
    for (size_t i = 0; i < world->pod_count; i++) {
        if (i == world->me || !gate_is_viewer(world, &world->pods[i]))
            continue;
        part.heard += part_view_is_new(world, &world->pods[i], since_ms);
        part_look(world, &world->pods[i], &of, &part);
    }
    return part;
}

struct gate_part gate_find_former(const struct world *world, const struct node_id *claimed,
                                  int64_t since_ms)
{
    struct part_of of = {.claimed = *claimed,
                         .recorded = gate_recorded_id(world, claimed),
                         .former = true,
                         .since_ms = since_ms};
    struct gate_part part = {0};
    for (size_t i = 0; i < world->pod_count; i++) {
        if (i == world->me)
            continue;
        part.others++;
        if (!world_view_fresh(world, &world->pods[i]))
            continue;
        part.heard += part_view_is_new(world, &world->pods[i], since_ms);
        part_look(world, &world->pods[i], &of, &part);
    }
    return part;
}

/* ---- who has its data ---- */

/* Its own word; true if it gave one. */
static bool holder_says(const struct world *world, const struct pod *pod, const struct node_id *id,
                        int64_t since_ms, bool *ret_holds)
{
    const struct gate_word *word = part_word(world, pod, since_ms);
    if (word) {
        *ret_holds = word->data;
        return true;
    }
    const struct view *view = pod->server.view;
    if (!part_view_is_new(world, pod, since_ms) || pod->server.seen_ms < since_ms)
        return false;
    *ret_holds = pod->server.keys != 0 && node_id_eq(&view->myself->primary, id);
    return true;
}

/* Most members were asked whom `member` follows, and none says it is the node. */
static bool holder_is_denied(const struct world *world, const struct node_id *member,
                             const struct node_id *id, int64_t since_ms)
{
    size_t heard = 0;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me || !gate_is_viewer(world, pod) ||
            !part_view_is_new(world, pod, since_ms))
            continue;
        const struct view_node *node = view_find(pod->server.view, member);
        if (node && node_id_eq(&node->primary, id))
            return false;
        heard++;
    }
    return heard > gate_others(world) / 2;
}

/* A member that says nothing itself. */
static bool holder_is_silent(const struct world *world, const struct node_id *member,
                             const struct node_id *id, int64_t since_ms)
{
    return !node_id_is_set(member) || !holder_is_denied(world, member, id, since_ms);
}

static bool holder_may_be(const struct world *world, const struct pod *pod,
                          const struct node_id *member, const struct node_id *id, int64_t since_ms)
{
    bool holds;
    return holder_says(world, pod, id, since_ms, &holds)
               ? holds
               : holder_is_silent(world, member, id, since_ms);
}

const char *gate_find_holder(const struct world *world, const struct node_id *id, int64_t since_ms)
{
    const struct record *record = gate_record(world);
    /* Nobody tells then who the members are: those that are not listed may be some. */
    bool listed = world->me != NO_POD && world->pod_count >= (size_t)world->set.replicas;
    if (!record && !listed)
        return "a pod that is not listed yet";
    for (size_t i = 0; record && i < record->member_count; i++) {
        const struct record_member *m = &record->members[i];
        const struct pod *pod = world_pod_by_name(world, m->pod);
        if (node_id_eq(&m->id, id) || strcmp(m->pod, world->my_pod) == 0 ||
            part_is_gone(world, m->pod))
            continue;
        if (pod ? holder_may_be(world, pod, &m->id, id, since_ms)
                : holder_is_silent(world, &m->id, id, since_ms))
            return m->pod;
    }
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i != world->me && !(record && record_find_pod(record, pod->name)) &&
            holder_may_be(world, pod, &pod->server.id, id, since_ms))
            return pod->name;
    }
    return NULL;
}

/* ---- whose data is not missed ---- */

static bool part_is_named(const struct record *record, const struct node_id *id)
{
    for (size_t i = 0; i < record->move_count; i++)
        if (node_id_eq(&record->moves[i].from, id) || node_id_eq(&record->moves[i].to, id))
            return true;
    return false;
}

/* In this view it owns nothing, and nobody follows it who could come back by himself. */
static bool part_is_spent_in(const struct world *world, const struct record *record,
                             const struct view *view, const struct node_id *id)
{
    for (size_t n = 0; n < view->node_count; n++) {
        const struct view_node *node = &view->nodes[n];
        if (node_id_eq(&node->id, id) && node->slot_count)
            return false;
        if (!node_id_eq(&node->primary, id))
            continue;
        const struct record_member *member = record_find_id(record, &node->id);
        if (!member || !part_is_beyond(world, member->pod) || world_pod_by_name(world, member->pod))
            return false;
    }
    return true;
}

bool gate_is_spent(const struct world *world, const struct gate_part *part, int64_t since_ms)
{
    const struct record *record = world->record;
    if (world->scaling != SCALING_AUTO || !record || !world->set.known ||
        part->heard <= part->others / 2 || part_is_named(record, &part->node->id))
        return false;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me || !gate_is_viewer(world, pod))
            continue;
        if (!part_view_is_new(world, pod, since_ms) ||
            !part_is_spent_in(world, record, pod->server.view, &part->node->id))
            return false;
    }
    return true;
}

/* ---- who was asked ---- */

bool gate_asked_all(const struct world *world, int64_t since_ms)
{
    size_t asked = 0;
    size_t silent = 0;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me || !pod->ip[0])
            continue;
        asked++;
        if (part_word(world, pod, since_ms))
            continue;
        bool answers = world_server_fresh(world, pod) || pod->server.reach == REACH_OK;
        if (pod->server.reach == REACH_UNKNOWN || pod->server.asked_ms < since_ms ||
            (answers && !part_view_is_new(world, pod, since_ms)))
            return false;
        silent += !answers && pod->server.reach != REACH_REFUSED;
    }
    return silent <= asked / 2;
}

/* ---- who is to come ---- */

/* Those that answer have done without it: nobody waits for it now. */
static bool absent_is_failed(const struct world *world, const struct node_id *id)
{
    size_t heard = 0;
    size_t failed = 0;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me || !gate_is_viewer(world, pod))
            continue;
        const struct view_node *node = view_find(pod->server.view, id);
        heard++;
        failed += !node || node->flags & (NODE_FAIL | NODE_NOADDR);
    }
    return failed > heard / 2;
}

/* Its pod is there, or will be without this one being ready. */
static bool absent_is_expected(const struct world *world, const char *pod)
{
    return !part_is_beyond(world, pod) &&
           (!world->set.ordered_ready || world_pod_by_name(world, pod));
}

bool gate_may_come(const struct world *world, const struct node_id *id)
{
    const struct record *record = gate_record(world);
    const struct record_member *member = record ? record_find_id(record, id) : NULL;
    return member && absent_is_expected(world, member->pod);
}

struct gate_absent gate_find_absent(const struct world *world)
{
    struct gate_absent absent = {0};
    const struct record *record = gate_record(world);
    for (size_t i = 0; record && i < record->member_count; i++) {
        const struct record_member *m = &record->members[i];
        if (!absent_is_expected(world, m->pod))
            continue;
        absent.members++;
        if (strcmp(m->pod, world->my_pod) == 0 || gate_address(world, &m->id))
            continue;
        absent.all++;
        if (absent_is_failed(world, &m->id))
            continue;
        absent.first = absent.first ? absent.first : m->pod;
        absent.count++;
    }
    return absent;
}
