/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "cli/show.h"
#include "cli/table.h"

#define POD_WIDTH 24

static void show_summary(const struct show *show, const struct scaling *s)
{
    (void)buf_format(show->out,
                     "from %" PRId64 " to %" PRId64 " pods: from %zu to %zu shards, with %" PRId64
                     " replica%s for each primary\n",
                     s->pods_now, s->pods_then, s->shards_now, s->shard_count,
                     s->replicas_per_primary, s->replicas_per_primary == 1 ? "" : "s");
    (void)buf_format(show->out, "to be moved: %" PRId64 " slots, about %s keys, about %s bytes\n",
                     s->slots, cli_number(show->arena, s->keys), cli_bytes(show->arena, s->bytes));
}

static void show_hand_overs(const struct show *show, const struct scaling *s)
{
    for (size_t i = 0; i < s->hand_over_count; i++)
        show_line(show, "hand-over",
                  arena_format(show->arena, "%s stops, %s takes its %" PRId64 " slots over",
                               s->hand_overs[i].from, s->hand_overs[i].to, s->hand_overs[i].slots));
}

static void show_copies(const struct show *show, const struct scaling *s)
{
    for (size_t i = 0; i < s->copy_count; i++)
        show_line(show, "new replica",
                  arena_format(show->arena, "%s copies the data of %s", s->copies[i].pod,
                               s->copies[i].primary));
}

static void show_moves(const struct show *show, const struct scaling *s)
{
    static const struct table_column columns[] = {
        {"FROM", false}, {"TO", false}, {"SLOTS", true}, {"KEYS", true}, {"BYTES", true}};
    struct arena *arena = show->arena;
    struct table table;
    if (!s->move_count)
        return;
    table_init(&table, arena, columns, sizeof columns / sizeof columns[0], s->move_count);
    for (size_t i = 0; i < s->move_count; i++) {
        const struct scaling_move *move = &s->moves[i];
        const char *cells[] = {
            cli_fit(arena, move->from, POD_WIDTH, TABLE_KEEP_END),
            cli_fit(arena, move->to, POD_WIDTH, TABLE_KEEP_END),
            cli_number(arena, move->move->slot_count),
            cli_number(arena, move->keys),
            cli_bytes(arena, move->bytes),
        };
        table_add(&table, cells);
    }
    (void)buf_append_str(show->out, "\n");
    table_put(&table, show->out);
}

static void show_shards(const struct show *show, const struct scaling *s)
{
    static const char *const fits[] = {"?", "NO", "yes", "-"};
    static const struct table_column columns[] = {{"PRIMARY THEN", false}, {"SLOTS", true},
                                                  {"REPLICAS", true},      {"MEMORY", true},
                                                  {"LIMIT", true},         {"FITS", false}};
    struct arena *arena = show->arena;
    struct table table;
    if (!s->shard_count)
        return;
    table_init(&table, arena, columns, sizeof columns / sizeof columns[0], s->shard_count);
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct scaling_shard *shard = &s->shards[i];
        const char *cells[] = {
            cli_fit(arena, shard->primary, POD_WIDTH, TABLE_KEEP_END),
            cli_number(arena, shard->slots),
            cli_number(arena, shard->replicas),
            cli_bytes(arena, shard->memory_bytes),
            shard->memory_max ? cli_bytes(arena, shard->memory_max) : "none",
            fits[shard->fits],
        };
        table_add(&table, cells);
    }
    (void)buf_append_str(show->out, "\n");
    table_put(&table, show->out);
}

void show_scaling(const struct show *show, const char *note, const struct scaling *s)
{
    show_line(show, "note", note);
    show_summary(show, s);
    show_hand_overs(show, s);
    show_copies(show, s);
    show_moves(show, s);
    show_shards(show, s);
    if (s->warning_count)
        (void)buf_append_str(show->out, "\n");
    for (size_t i = 0; i < s->warning_count; i++)
        show_line(show, "warning", s->warnings[i]);
    (void)buf_append_str(
        show->out,
        "\nAn estimate: nothing was changed. This release hands over and makes replicas by "
        "itself, but moves no slots.\n");
}
