/* SPDX-License-Identifier: Apache-2.0 */
#include "io/whois.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "io/redis_auth.h"
#include "io/redis_link.h"

struct whois {
    struct loop *loop;
    struct redis_auth auth; /* nobody's: no secret goes to a stranger */
    struct redis_tls tls;
    struct peer_counters counters;
    int64_t limit_ms;
    struct redis_link *link;     /* owned; NULL = nothing is asked */
    struct loop_timer *deadline; /* owned */
    void (*on_told)(void *ctx, enum reach reach, const struct node_id *id);
    void *ctx;
};

static void whois_tell(struct whois *whois, enum reach reach, const struct node_id *id)
{
    whois_stop(whois);
    whois->on_told(whois->ctx, reach, id);
}

static void whois_on_open(void *ctx)
{
    const struct whois *whois = ctx;
    struct peer_command command = {.words = {span_of("CLUSTER"), span_of("MYID")}, .word_count = 2};
    redis_link_send(whois->link, &command, 1);
}

static void whois_on_replies(void *ctx, const struct reply *replies, size_t count)
{
    (void)count;
    struct node_id id;
    if (replies[0].kind == REPLY_TEXT && node_id_parse(replies[0].text, &id))
        whois_tell(ctx, REACH_OK, &id);
    else if (replies[0].kind == REPLY_ERROR && !span_starts(replies[0].text, "ERR"))
        whois_tell(ctx, REACH_DENIED, NULL);
    else
        whois_tell(ctx, REACH_ERROR, NULL);
}

static void whois_on_lost(void *ctx, enum reach reach, const char *why)
{
    (void)why;
    whois_tell(ctx, reach, NULL);
}

static void whois_on_deadline(void *ctx)
{
    whois_tell(ctx, REACH_TIMEOUT, NULL);
}

struct whois *whois_new(struct loop *loop, const struct whois_config *config)
{
    struct whois *whois = xcalloc(1, sizeof *whois);
    whois->loop = loop;
    whois->limit_ms = config->limit_ms;
    whois->on_told = config->on_told;
    whois->ctx = config->ctx;
    whois->deadline = loop_timer_new(loop, whois_on_deadline, whois);
    redis_auth_init(&whois->auth, NULL, NULL);
    redis_tls_init(&whois->tls, config->tls);
    return whois;
}

void whois_free(struct whois *whois)
{
    if (!whois)
        return;
    whois_stop(whois);
    loop_timer_free(whois->deadline);
    redis_auth_deinit(&whois->auth);
    redis_tls_deinit(&whois->tls);
    free(whois);
}

void whois_ask(struct whois *whois, const char *ip, uint16_t port)
{
    whois_stop(whois);
    struct redis_link_config config = {
        .ip = ip,
        .port = port,
        .auth = &whois->auth,
        .tls = &whois->tls,
        .counters = &whois->counters,
        .on_open = whois_on_open,
        .on_replies = whois_on_replies,
        .on_lost = whois_on_lost,
        .ctx = whois,
    };
    whois->link = redis_link_new(whois->loop, &config);
    loop_timer_arm(whois->deadline, whois->limit_ms);
}

bool whois_is_asking(const struct whois *whois)
{
    return whois->link;
}

void whois_stop(struct whois *whois)
{
    loop_timer_disarm(whois->deadline);
    redis_link_free(whois->link);
    whois->link = NULL;
}
