/* SPDX-License-Identifier: Apache-2.0 */
#include "io/mover_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/function_copy.h"

struct mover_client {
    struct slot_link *link;          /* owned */
    struct function_copy *functions; /* owned; NULL = not asked for */
    void (*on_end)(void *ctx);
    void *ctx;
    struct slot_range *ranges; /* owned */
    struct mover mover;
    struct mover_order order; /* under way */
    bool stopping;
    enum mover_end end; /* 0 = it works */
    struct mover_report report;
};

static void client_end(struct mover_client *client, enum mover_end end, const char *why)
{
    if (client->end)
        return;
    client->end = end;
    text_format(client->report.why, sizeof client->report.why, "%s", why);
    client->on_end(client->ctx);
}

static void client_blocked(struct mover_client *client)
{
    char why[sizeof client->report.why];
    const char *refusal = slot_link_refusal(client->link);
    text_format(why, sizeof why, "slot %u: %s%s%s", client->order.slots[0], client->order.why,
                refusal[0] ? ": " : "", refusal);
    client_end(client, MOVER_END_BLOCKED, why);
}

static void client_next(struct mover_client *client)
{
    if (client->stopping) {
        client_end(client, MOVER_END_STOPPED, "");
        return;
    }
    mover_next(&client->mover, &client->order);
    switch (client->order.kind) {
    case MOVER_LOOK:
        slot_link_look(client->link, client->order.slots, client->order.count);
        break;
    case MOVER_STEP:
        slot_link_order(client->link, &client->order);
        break;
    case MOVER_DONE:
        client_end(client, MOVER_END_DONE, "");
        break;
    case MOVER_BLOCKED:
        client_blocked(client);
        break;
    case MOVER_PAUSED:
        client_end(client, MOVER_END_PAUSED, "");
        break;
    }
}

static void client_on_seen(void *ctx, const struct slot_seen *seen)
{
    struct mover_client *client = ctx;
    mover_saw(&client->mover, &client->order, seen);
    client_next(client);
}

static void client_on_did(void *ctx, const enum mover_result *results, const int64_t *keys_left,
                          int64_t took_ms)
{
    struct mover_client *client = ctx;
    if (client->order.step == SLOT_KEYS && took_ms > client->report.longest_ms)
        client->report.longest_ms = took_ms;
    mover_did(&client->mover, &client->order, results, keys_left, took_ms);
    client_next(client);
}

static void client_on_lost(void *ctx, bool ordered, const char *why)
{
    client_end(ctx, ordered ? MOVER_END_UNSURE : MOVER_END_LOST, why);
}

static void client_on_functions(void *ctx, const char *why)
{
    struct mover_client *client = ctx;
    if (why)
        client_end(client, MOVER_END_BLOCKED, why);
    else if (!client->end)
        client_next(client);
}

struct mover_client *mover_client_new(struct loop *loop, const struct mover_client_config *config)
{
    struct mover_client *client = xcalloc(1, sizeof *client);
    struct slot_link_config link = config->link;
    client->on_end = config->on_end;
    client->ctx = config->ctx;
    client->ranges = xcalloc(config->range_count, sizeof *client->ranges);
    memcpy(client->ranges, config->ranges, config->range_count * sizeof *client->ranges);
    mover_init(&client->mover, &(struct mover_config){.ranges = client->ranges,
                                                      .range_count = config->range_count,
                                                      .budget_ms = MOVER_BUDGET_MS,
                                                      .cancel = config->cancel});
    mover_pause(&client->mover, config->paused);
    client->report.began_ms = clock_mono_ms();
    link.on_seen = client_on_seen;
    link.on_did = client_on_did;
    link.on_lost = client_on_lost;
    link.ctx = client;
    client->link = slot_link_new(loop, &link);
    if (config->functions)
        client->functions = function_copy_new(&config->link, client_on_functions, client);
    else
        client_next(client);
    return client;
}

void mover_client_free(struct mover_client *client)
{
    if (!client)
        return;
    slot_link_free(client->link);
    function_copy_free(client->functions);
    free(client->ranges);
    free(client);
}

void mover_client_pause(struct mover_client *client, bool paused)
{
    mover_pause(&client->mover, paused);
}

void mover_client_stop(struct mover_client *client)
{
    client->stopping = true;
    if (!slot_link_is_busy(client->link))
        client_end(client, MOVER_END_STOPPED, "");
}

bool mover_client_ended(const struct mover_client *client, enum mover_end *ret_end)
{
    *ret_end = client->end;
    return client->end != 0;
}

struct mover_report mover_client_report(const struct mover_client *client)
{
    struct mover_report report = client->report;
    report.slots = mover_slots(&client->mover);
    report.slots_done = client->mover.slots_done;
    report.keys_moved = client->mover.keys_moved;
    return report;
}
