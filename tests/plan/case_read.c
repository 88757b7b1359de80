/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "plan/case_crash.h"
#include "plan/case_drain.h"
#include "plan/case_people.h"
#include "plan/case_scale.h"
#include "plan/case_server.h"
#include "plan/case_words.h"
#include "wire/cluster_nodes.h"

#define LATER_MAX 64

struct reader {
    struct arena *arena;
    struct truth *truth;
    /* What overrules the derived world, applied at the end. */
    struct span later[LATER_MAX];
    size_t later_count;
    size_t nodes_of[LATER_MAX]; /* pods whose CLUSTER NODES is given */
    struct span nodes_text[LATER_MAX];
    size_t nodes_count;
    bool deleted;
    bool broken;
    bool tried;
    struct span tried_by;
    struct case_drain drain;
    struct case_scale *scale;
};

static bool read_cluster(struct reader *r, struct span words)
{
    static const char *const stages[] = {"virgin", "intent",   "prepared", "met",
                                         "placed", "restored", "formed"};
    int64_t pods = 6;
    int64_t shards = 3;
    struct span stage;
    if (!span_token(&words, &stage))
        return false;
    (void)case_number(words, "pods", &pods);
    (void)case_number(words, "shards", &shards);
    if (r->truth || pods < 1 || pods > 1000 || shards < 1 || shards > pods)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        if (span_is(stage, stages[i]))
            r->truth = truth_new(r->arena, (size_t)pods, (size_t)shards, (enum truth_stage)i);
    return r->truth != NULL;
}

static bool read_agent(struct reader *r, struct span words)
{
    struct world *w = &r->truth->world;
    struct span name;
    if (!span_token(&words, &name))
        return false;
    text_format(w->my_pod, sizeof w->my_pod, "%.*s", (int)name.len, name.ptr);
    case_copy(words, "leader", w->leader_pod, sizeof w->leader_pod);
    case_copy(words, "ip", w->my_ip, sizeof w->my_ip);
    w->leader = strcmp(w->my_pod, w->leader_pod) == 0 && !case_word(words, "late");
    struct span copied; /* whom its server was in sync with last */
    if (case_value(words, "copied", &copied))
        return case_id(copied, &w->copy.of);
    return true;
}

/* Without Kubernetes; behind `why` the sentence of whoever may not act. */
static bool read_hosts(struct reader *r, struct span words)
{
    struct world *w = &r->truth->world;
    w->arbiter = ARBITER_HOSTS;
    w->set.uid[0] = r->truth->record.set_uid[0] = '\0';
    w->record_disputed = case_word(words, "disputed");
    w->hosts_problem = w->leader_why = "";
    struct span word;
    if (case_word(words, "why"))
        while (span_token(&words, &word) && !span_is(word, "why"))
            ;
    if (words.len)
        w->leader_why = arena_format(r->arena, "%.*s", (int)words.len, words.ptr);
    return true;
}

static bool read_set(struct reader *r, struct span words)
{
    struct stateful_set *set = &r->truth->world.set;
    int64_t number;
    if (case_number(words, "replicas", &number))
        set->replicas = (int)number;
    case_copy(words, "uid", set->uid, sizeof set->uid);
    if (case_word(words, "unknown"))
        set->known = false;
    set->absent = case_word(words, "absent");
    if (case_word(words, "no-volumes"))
        set->volumes = false;
    return true;
}

static bool read_api(struct reader *r, struct span words)
{
    int64_t age = 0;
    struct world *w = &r->truth->world;
    if (case_word(words, "never"))
        w->api_seen_ms = 0;
    else if (case_number(words, "age", &age))
        w->api_seen_ms = w->now_ms - age;
    else if (case_word(words, "broken"))
        w->api_broken = true;
    else
        return false;
    return true;
}

static bool read_record(struct reader *r, struct span words)
{
    struct truth *t = r->truth;
    case_copy(words, "set-uid", t->record.set_uid, sizeof t->record.set_uid);
    (void)case_number(words, "generation", &t->record.generation);
    t->world.record_presence = PRESENCE_PRESENT;
    if (case_word(words, "unknown"))
        t->world.record_presence = PRESENCE_UNKNOWN;
    else if (case_word(words, "absent"))
        t->world.record_presence = PRESENCE_ABSENT;
    else if (case_word(words, "deleted"))
        r->deleted = true;
    else if (case_word(words, "broken"))
        r->broken = true;
    else if (case_word(words, "forming"))
        t->record.state = RECORD_FORMING;
    else if (case_word(words, "formed"))
        t->record.state = RECORD_FORMED;
    return true;
}

static bool read_member(struct reader *r, struct span words)
{
    struct truth *t = r->truth;
    struct span name;
    struct span value;
    int64_t number;
    size_t at = 0;
    if (!span_token(&words, &name))
        return false;
    while (at < t->record.member_count && !span_is(name, t->members[at].pod))
        at++;
    struct record_member *m = &t->members[at];
    if (case_word(words, "gone")) {
        t->record.member_count--;
        memmove(m, m + 1, (t->record.member_count - at) * sizeof *m);
        return true;
    }
    if (at == t->record.member_count) {
        t->record.member_count++;
        *m = (struct record_member){.shard = NO_SHARD, .diskless_delay_s = -1};
        text_format(m->pod, sizeof m->pod, "%.*s", (int)name.len, name.ptr);
    }
    if (case_value(words, "id", &value) && !case_id(value, &m->id))
        return false;
    if (case_value(words, "shard", &value))
        m->shard = case_number(words, "shard", &number) ? (uint16_t)number : NO_SHARD;
    if (case_value(words, "role", &value))
        m->primary = span_is(value, "primary");
    if (case_number(words, "epoch", &number))
        m->epoch = (uint64_t)number;
    (void)case_number(words, "nt", &m->node_timeout_ms);
    (void)case_number(words, "delay", &m->diskless_delay_s);
    return true;
}

static bool read_forget(struct reader *r, struct span words)
{
    struct span id;
    return span_token(&words, &id) &&
           case_id(id, &r->truth->forget[r->truth->record.forget_count++]);
}

/* Calls `each` for the pod named first, or for all of "*". */
static bool read_pods(struct reader *r, struct span words,
                      bool (*each)(struct reader *r, size_t pod, struct span words))
{
    struct span name;
    bool found = false;
    if (!span_token(&words, &name))
        return false;
    for (size_t i = 0; i < r->truth->pod_count; i++) {
        if (!span_is(name, "*") && !span_is(name, r->truth->pods[i].name))
            continue;
        found = true;
        if (!each(r, i, words))
            return false;
    }
    return found;
}

static bool read_pod(struct reader *r, size_t pod, struct span words)
{
    struct pod *p = &r->truth->pods[pod];
    case_copy(words, "ip", p->ip, sizeof p->ip);
    case_copy(words, "node", p->node, sizeof p->node);
    case_copy(words, "zone", p->zone, sizeof p->zone);
    p->terminating = case_word(words, "terminating");
    p->zone_pending = case_word(words, "zone-pending");
    p->other_family = case_word(words, "other-family");
    case_drain_pod(p, r->truth->world.now_ms, words);
    if (case_word(words, "gone"))
        r->truth->listed[pod] = false;
    char held[8] = "";
    case_copy(words, "held", held, sizeof held);
    if (held[0])
        p->told = (struct told){
            .heard_ms = r->truth->world.now_ms,
            .gate = {.held = true, .owner = true, .data = strcmp(held, "data") == 0},
        };
    char waits[12] = "";
    case_copy(words, "waits", waits, sizeof waits);
    if (waits[0] && !text_to_i64(span_of(waits), 0, INT64_MAX, &p->told.gate.waits_ms))
        return false;
    return true;
}

static bool read_new_id(struct reader *r, size_t pod, struct span words)
{
    struct span text;
    struct node_id id;
    if (!span_token(&words, &text) || !case_id(text, &id))
        return false;
    truth_renew(r->truth, pod, id);
    r->truth->pods[pod].server.node_timeout_ms = TRUTH_NODE_TIMEOUT_MS;
    r->truth->pods[pod].server.diskless_delay_s = TRUTH_DISKLESS_DELAY_S;
    return true;
}

static bool read_slots(struct truth_node *node, struct span value)
{
    node->slots = (struct slot_set){0};
    if (span_is(value, "-"))
        return true;
    while (value.len) {
        struct span last = span_until(&value, ',');
        struct span first = span_until(&last, '-');
        uint64_t low;
        uint64_t high;
        if (!text_to_u64(first, SLOT_COUNT - 1, &low))
            return false;
        high = low;
        if (last.len && !text_to_u64(last, SLOT_COUNT - 1, &high))
            return false;
        slot_set_add(&node->slots, (struct slot_range){(uint16_t)low, (uint16_t)high});
    }
    return true;
}

static bool read_node(struct reader *r, struct span words)
{
    struct truth *t = r->truth;
    struct span value;
    struct node_id id;
    int64_t number;
    if (!span_token(&words, &value) || !case_id(value, &id))
        return false;
    struct truth_node *n = truth_node(t, id);
    if (case_value(words, "pod", &value)) {
        n->pod = NO_POD;
        for (size_t i = 0; i < t->pod_count; i++)
            if (span_is(value, t->pods[i].name))
                n->pod = i;
    }
    if (case_number(words, "component", &number))
        n->component = (unsigned)number;
    if (case_number(words, "epoch", &number))
        n->epoch = (uint64_t)number;
    if (case_value(words, "role", &value)) {
        n->primary = span_is(value, "primary");
        n->follows = (struct node_id){""};
        if (!n->primary && !case_id(value, &n->follows))
            return false;
    }
    (void)case_flags(words, &n->flags);
    case_copy(words, "ip", n->ip, sizeof n->ip);
    return !case_value(words, "slots", &value) || read_slots(n, value);
}

static bool read_view(struct reader *r, size_t pod, struct span words)
{
    struct span text;
    struct node_id id;
    if (!span_token(&words, &text) || !case_id(text, &id))
        return false;
    struct truth_edit *edit = truth_edit(r->truth, pod, id);
    edit->missing = case_word(words, "missing");
    edit->untold = case_word(words, "untold");
    edit->changes_flags = case_flags(words, &edit->flags) || edit->changes_flags;
    case_copy(words, "ip", edit->ip, sizeof edit->ip);
    int64_t epoch;
    if (case_number(words, "epoch", &epoch))
        edit->epoch = (uint64_t)epoch;
    return true;
}

/* Appends the line with "@N" spelled out; the '@' before a bus port follows a digit. */
static void read_nodes_line(struct span line, struct buf *text)
{
    for (size_t i = 0; i < line.len; i++) {
        size_t len = 1;
        struct node_id id;
        while (i + len < line.len && line.ptr[i + len] >= '0' && line.ptr[i + len] <= '9')
            len++;
        bool port = i && line.ptr[i - 1] >= '0' && line.ptr[i - 1] <= '9';
        if (!port && case_id((struct span){line.ptr + i, len}, &id)) {
            (void)buf_append_str(text, id.hex);
            i += len - 1;
        } else {
            (void)buf_append(text, line.ptr + i, 1);
        }
    }
    (void)buf_append_str(text, "\n");
}

static bool read_nodes_text(struct reader *r, size_t pod, struct span *rest)
{
    struct buf text;
    struct span line;
    if (r->nodes_count == LATER_MAX)
        return false;
    buf_init(&text, KIB(64));
    while (span_starts(*rest, "  ") && span_line(rest, &line))
        read_nodes_line((struct span){line.ptr + 2, line.len - 2}, &text);
    r->nodes_of[r->nodes_count] = pod;
    r->nodes_text[r->nodes_count++] = span_of(arena_format(r->arena, "%s", buf_str(&text)));
    buf_deinit(&text);
    return true;
}

static bool read_nodes(struct reader *r, struct span words, struct span *rest)
{
    struct span name;
    if (!span_token(&words, &name))
        return false;
    for (size_t i = 0; i < r->truth->pod_count; i++)
        if (span_is(name, r->truth->pods[i].name))
            return read_nodes_text(r, i, rest);
    return false;
}

/* What agents know of earlier turns. */
static bool read_remembered(struct reader *r, struct span keyword, struct span words)
{
    struct world *w = &r->truth->world;
    if (span_is(keyword, "drain"))
        return case_drain_read(&r->drain, w, words);
    if (span_is(keyword, "place"))
        return case_drain_place(&r->drain, w, words);
    if (span_is(keyword, "takeover"))
        return case_takeover_read(w, words);
    if (span_is(keyword, "watched") || span_is(keyword, "past"))
        return case_drain_past(&r->drain, keyword, words);
    if (!span_is(keyword, "crash"))
        return case_people_read(w, &r->truth->record, keyword, words, &r->drain.used) ||
               case_scale_read(r->scale, keyword, words, w, &r->truth->record, r->arena);
    r->drain.used = true; /* who asked for votes when is known as well */
    return case_crash_read(w, words);
}

static bool read_fact(struct reader *r, struct span keyword, struct span words, struct span *rest)
{
    int64_t number;
    if (span_is(keyword, "cluster"))
        return read_cluster(r, words);
    if (!r->truth)
        return false;
    if (span_is(keyword, "agent"))
        return read_agent(r, words);
    if (span_is(keyword, "hosts"))
        return read_hosts(r, words);
    if (span_is(keyword, "settling"))
        return r->truth->world.settling = true;
    if (span_is(keyword, "tried")) {
        r->tried = true;
        (void)span_token(&words, &r->tried_by);
        return true;
    }
    if (span_is(keyword, "replicas-per-primary")) {
        bool ok = text_to_i64(words, 0, 100, &number);
        r->truth->world.replicas_per_primary = ok ? (int)number : 0;
        return ok;
    }
    if (span_is(keyword, "viewers")) {
        bool ok = text_to_i64(words, 1, (int64_t)r->truth->pod_count, &number);
        r->truth->viewers = ok ? (size_t)number : 1;
        return ok;
    }
    if (span_is(keyword, "gone")) {
        bool ok = text_to_i64(words, 0, INT32_MAX, &number);
        r->truth->world.gone_since_ms = r->truth->world.now_ms - (ok ? number : 0);
        return ok;
    }
    if (span_is(keyword, "reform"))
        return r->truth->world.reform_lost = true;
    if (span_is(keyword, "set"))
        return read_set(r, words);
    if (span_is(keyword, "api"))
        return read_api(r, words);
    if (span_is(keyword, "record"))
        return read_record(r, words);
    if (span_is(keyword, "member"))
        return read_member(r, words);
    if (span_is(keyword, "forget"))
        return read_forget(r, words);
    if (span_is(keyword, "pod"))
        return read_pods(r, words, read_pod);
    if (span_is(keyword, "new-id"))
        return read_pods(r, words, read_new_id);
    if (span_is(keyword, "node"))
        return read_node(r, words);
    if (span_is(keyword, "view"))
        return read_pods(r, words, read_view);
    if (span_is(keyword, "nodes"))
        return read_nodes(r, words, rest);
    if (span_is(keyword, "guard-off"))
        return case_guards(words, &r->truth->world.guards_off);
    if (span_is(keyword, "server") && r->later_count < LATER_MAX) {
        r->later[r->later_count++] = words;
        return true;
    }
    return read_remembered(r, keyword, words);
}

static bool case_is_named(struct span name, const struct pod *pod)
{
    return span_is(name, "*") || span_is(name, pod->name);
}

/* The world, and over it what the case says of single servers. */
static int case_finish(struct reader *r, struct case_world *ret_case, struct err *err)
{
    struct world *w = truth_world(r->truth);
    struct pod *pods = r->truth->pods; /* names only */
    case_crash_begin(w, r->truth->derived);
    for (size_t i = 0; i < w->pod_count; i++) {
        struct pod *pod = &r->truth->derived[i];
        for (size_t n = 0; n < r->nodes_count; n++) {
            if (strcmp(pods[r->nodes_of[n]].name, pod->name) != 0)
                continue;
            struct view *view = ARENA_NEW(r->arena, struct view, 1);
            if (cluster_nodes_parse(r->nodes_text[n], r->arena, view, err))
                return err_wrap(err, "nodes %s", pod->name);
            case_server_view(&pod->server, view);
        }
        for (size_t l = 0; l < r->later_count; l++) {
            struct span words = r->later[l];
            struct span name;
            if (span_token(&words, &name) && case_is_named(name, pod) &&
                !case_server_apply(&pod->server, w->now_ms, words))
                return err_set(err, E_INVALID, "server %.*s: not understood", (int)r->later[l].len,
                               r->later[l].ptr);
        }
    }
    if (w->me != NO_POD)
        w->copy.id = w->pods[w->me].server.id;
    if (!case_drain_finish(&r->drain, w, r->truth->derived, r->arena) ||
        !case_scale_finish(r->scale, w, r->truth->derived, r->arena))
        return err_set(err, E_INVALID, "past or open: not understood");
    if (r->deleted) {
        w->record = NULL;
        w->record_presence = PRESENCE_ABSENT;
    }
    if (r->broken) {
        w->record = NULL;
        w->record_problem = "members: not a list";
    }
    ret_case->world = w;
    ret_case->tried = r->tried;
    ret_case->tried_by = r->tried_by;
    return 0;
}

int case_read(struct span text, struct arena *arena, struct case_world *ret_case, struct err *err)
{
    struct reader r = {.arena = arena, .scale = ARENA_NEW(arena, struct case_scale, 1)};
    struct span rest = text;
    struct span line;
    for (size_t number = 1; span_line(&rest, &line); number++) {
        struct span words = line;
        struct span keyword;
        if (!span_token(&words, &keyword) || span_starts(keyword, "#"))
            continue;
        ret_case->expect_at = (size_t)(rest.ptr - text.ptr);
        if (span_is(keyword, "expect"))
            return r.truth ? case_finish(&r, ret_case, err)
                           : err_set(err, E_INVALID, "no cluster before expect");
        if (!read_fact(&r, keyword, words, &rest))
            return err_set(err, E_INVALID, "fact %zu: not understood: %.*s", number, (int)line.len,
                           line.ptr);
    }
    return err_set(err, E_INVALID, "no line \"expect\"");
}
