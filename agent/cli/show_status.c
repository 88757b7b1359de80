/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/show.h"
#include "cli/table.h"
#include "core/index.h"
#include "core/slots.h"

/* The names of nodes and pods differ at their ends, slots and zones at their beginnings. */
#define SLOTS_WIDTH 20
#define POD_WIDTH 24
#define NODE_WIDTH 20
#define ZONE_WIDTH 14
/* An answer is asked for each second; older than this is worth saying. */
#define OLD_MS 5000

static const struct table_column COLUMNS[] = {
    {"SLOTS", false}, {"KEYS", true}, {"POD", false},   {"ROLE", false},   {"NODE", false},
    {"ZONE", false},  {"LAG", true},  {"MEMORY", true}, {"SERVER", false}, {"STATE", false},
};

static void put_note(char *notes, size_t size, const char *note)
{
    text_append(notes, size, "%s%s", notes[0] ? ", " : "", note);
}

static const char *pod_state(struct arena *arena, const struct status_pod *pod)
{
    char notes[128] = "";
    char age[32];
    if (pod->terminating)
        put_note(notes, sizeof notes, "terminating");
    if (pod->gate[0])
        put_note(notes, sizeof notes, pod->gate);
    if (!pod->ready)
        put_note(notes, sizeof notes, "not ready");
    if (pod->agent == AGENT_SILENT)
        put_note(notes, sizeof notes, "agent silent");
    if (pod->age_ms > OLD_MS) {
        text_format(age, sizeof age, "seen %" PRId64 "s ago", pod->age_ms / 1000);
        put_note(notes, sizeof notes, age);
    }
    return arena_format(arena, "%s", notes);
}

static void add_pod(struct table *table, const char *slots, const char *keys,
                    const struct status_pod *pod)
{
    static const char *const roles[] = {"-", "primary", "replica"};
    struct arena *arena = table->arena;
    const char *cells[ARRAY_LEN(COLUMNS)] = {
        slots,
        keys,
        cli_fit(arena, pod->name, POD_WIDTH, TABLE_KEEP_END),
        roles[pod->role],
        cli_fit(arena, pod->node[0] ? pod->node : "-", NODE_WIDTH, TABLE_KEEP_END),
        cli_fit(arena, pod->zone[0] ? pod->zone : "-", ZONE_WIDTH, TABLE_KEEP_START),
        pod->role == STATUS_ROLE_REPLICA ? cli_bytes(arena, pod->lag_bytes) : "-",
        cli_bytes(arena, pod->memory_bytes),
        pod->server[0] ? pod->server : "-",
        pod_state(arena, pod),
    };
    table_add(table, cells);
}

/* A node of the cluster that is on no pod that is known. */
static void add_nobody(struct table *table, const char *slots, const char *keys)
{
    const char *cells[ARRAY_LEN(COLUMNS)] = {slots, keys, "?", "primary", "-",
                                             "-",   "-",  "-", "-",       "on no known pod"};
    table_add(table, cells);
}

struct rows {
    struct table *table;
    const struct status *status;
    struct index pods; /* name -> index */
    bool *shown;       /* by pod */
};

static void add_named(const struct rows *rows, const char *slots, const char *keys,
                      const char *name)
{
    size_t pod = index_find(&rows->pods, name);
    if (pod == INDEX_NONE) {
        add_nobody(rows->table, slots, keys);
        return;
    }
    rows->shown[pod] = true;
    add_pod(rows->table, slots, keys, &rows->status->pods[pod]);
}

static void add_shard(const struct rows *rows, const struct status_shard *shard)
{
    struct arena *arena = rows->table->arena;
    add_named(rows, cli_fit(arena, shard->slots, SLOTS_WIDTH, TABLE_KEEP_START),
              cli_number(arena, shard->keys), shard->primary);
    for (size_t i = 0; i < shard->replica_count; i++)
        add_named(rows, "", "", shard->replicas[i]);
}

static void show_table(const struct show *show, const struct status *status)
{
    size_t row_max = status->pod_count;
    for (size_t i = 0; i < status->shard_count; i++)
        row_max += 1 + status->shards[i].replica_count;
    struct table table;
    table_init(&table, show->arena, COLUMNS, ARRAY_LEN(COLUMNS), row_max);
    struct rows rows = {.table = &table,
                        .status = status,
                        .shown = ARENA_NEW(show->arena, bool, status->pod_count)};
    index_init(&rows.pods, show->arena, status->pod_count);
    for (size_t i = 0; i < status->pod_count; i++)
        index_add(&rows.pods, status->pods[i].name, i);
    index_sort(&rows.pods);
    for (size_t i = 0; i < status->shard_count; i++)
        add_shard(&rows, &status->shards[i]);
    bool first = true;
    for (size_t i = 0; i < status->pod_count; i++) {
        if (rows.shown[i])
            continue;
        add_pod(&table, first && status->shard_count ? "no shard" : "", "", &status->pods[i]);
        first = false;
    }
    table_put(&table, show->out);
}

static enum show_colour state_colour(enum status_state state)
{
    switch (state) {
    case STATUS_OK:
        return SHOW_GOOD;
    case STATUS_DOWN:
        return SHOW_BAD;
    case STATUS_UNKNOWN:
    case STATUS_FORMING:
    case STATUS_DEGRADED:
        break;
    }
    return SHOW_WARN;
}

static void show_header(const struct show *show, const struct status *status)
{
    show_text(show, SHOW_PLAIN, status->name[0] ? status->name : "cluster");
    (void)buf_append_str(show->out, "  ");
    show_text(show, state_colour(status->state), status_state_name(status->state));
    (void)buf_format(show->out, "  slots %" PRId64 "/%u  epoch %" PRId64 "  leader ",
                     status->slots_covered, SLOT_COUNT, status->epoch);
    show_text(show, SHOW_PLAIN, status->leader[0] ? status->leader : "none");
    (void)buf_append_str(show->out, "\n");
    show_line(show, "uid", status->uid);
}

static void show_survival(const struct show *show, const struct status *status)
{
    static const char *const texts[] = {"unknown", "NO", "yes", "unknown"};
    static const enum show_colour colours[] = {SHOW_WARN, SHOW_BAD, SHOW_GOOD, SHOW_WARN};
    (void)buf_append_str(show->out, "survives the loss of any one node: ");
    show_text(show, colours[status->survives_node], texts[status->survives_node]);
    (void)buf_append_str(show->out, ", of any one zone: ");
    show_text(show, colours[status->survives_zone], texts[status->survives_zone]);
    (void)buf_append_str(show->out, "\n");
}

/* First of all: nothing mends itself meanwhile that is no matter of life and death. */
static void show_pause(const struct show *show, const struct status *status)
{
    if (status->paused != HELD_YES)
        return;
    show_text(show, SHOW_BAD, "PAUSED");
    (void)buf_append_str(show->out, "  ");
    show_text(show, SHOW_PLAIN, status->promises[PROMISE_PAUSE].why);
    (void)buf_append_str(show->out, "\n");
}

static void show_open_slots(const struct show *show, const struct status *status)
{
    for (size_t i = 0; i < status->shard_count; i++)
        for (size_t k = 0; k < status->shards[i].open_count; k++)
            show_line(show, "half-moved slot", status->shards[i].open_slots[k]);
}

static void show_held(const struct show *show, const struct status *status)
{
    for (size_t i = 0; i < status->pod_count; i++) {
        const struct status_pod *pod = &status->pods[i];
        if (pod->gate_why[0])
            show_line(show, "held", arena_format(show->arena, "%s: %s", pod->name, pod->gate_why));
    }
}

void show_status(const struct show *show, const struct cli_answer *answer)
{
    const struct status *status = &answer->status;
    show_line(show, "note", answer->note);
    show_pause(show, status);
    show_header(show, status);
    (void)buf_append_str(show->out, "\n");
    show_table(show, status);
    (void)buf_append_str(show->out, "\n");
    if (status->shard_count)
        show_survival(show, status);
    show_open_slots(show, status);
    show_held(show, status);
    show_line(show, "weakest", status->weakest);
    show_line(show, "now", status->plan_reason);
}
