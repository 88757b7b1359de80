/* SPDX-License-Identifier: Apache-2.0 */
#include "io/record_client.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/kube_json.h"

/* Escaped once more as a string of the ConfigMap: at most every byte doubled, and the metadata. */
#define RECORD_BODY_MAX (2 * RECORD_TEXT_MAX + KIB(4))
#define RECORD_ARENA_MAX MIB(16)

struct record_client {
    struct kube_client *client;
    char name[KUBE_NAME_SIZE];
    struct kube_request *request; /* in flight; the client's */
    bool create;
    record_done_fn on_done;
    void *ctx;
    struct kube_request *look; /* likewise */
    record_done_fn on_look;
    void *look_ctx;
};

struct record_client *record_client_new(struct kube_client *client)
{
    struct record_client *records = xcalloc(1, sizeof *records);
    records->client = client;
    return records;
}

void record_client_free(struct record_client *records)
{
    if (!records)
        return;
    kube_cancel(records->request);
    kube_cancel(records->look);
    free(records);
}

void record_client_follow(struct record_client *records, const char *name)
{
    text_format(records->name, sizeof records->name, "%s", name);
}

bool record_client_busy(const struct record_client *records)
{
    return records->request != NULL;
}

static int record_client_version(struct span body, char *ret_version, struct err *err)
{
    struct arena arena;
    struct kube_object object;
    arena_init(&arena, RECORD_ARENA_MAX);
    int rc = kube_object_parse(body, KUBE_CONFIG_MAP, &arena, &object, err);
    arena_deinit(&arena);
    if (rc == 0)
        memcpy(ret_version, object.meta.resource_version, RESOURCE_VERSION_SIZE);
    return rc;
}

static void record_client_on_done(void *ctx, const struct kube_answer *answer)
{
    struct record_client *records = ctx;
    struct err err = answer->err;
    char version[RESOURCE_VERSION_SIZE] = "";
    records->request = NULL;
    if (err.code == E_OK)
        (void)record_client_version(answer->body, version, &err);
    else if (err.code == E_NOT_FOUND && !records->create)
        err.code = E_CONFLICT; /* deleted since it was read: the world is another */
    records->on_done(records->ctx, version, &err);
}

static int record_client_on_item(void *ctx, const struct kube_object *object, struct err *err)
{
    (void)err;
    memcpy(ctx, object->meta.resource_version, RESOURCE_VERSION_SIZE);
    return 0;
}

static void record_client_on_look(void *ctx, const struct kube_answer *answer)
{
    struct record_client *records = ctx;
    struct err err = answer->err;
    char version[RESOURCE_VERSION_SIZE] = "";
    struct kube_list list;
    struct arena arena;
    records->look = NULL;
    arena_init(&arena, RECORD_ARENA_MAX);
    int rc = err.code;
    if (rc == E_OK)
        rc = kube_list_parse(answer->body, KUBE_CONFIG_MAP, &arena, record_client_on_item, version,
                             &list, &err);
    if (rc < 0)
        version[0] = '\0';
    arena_deinit(&arena);
    records->on_look(records->look_ctx, version, &err);
}

int record_client_look(struct record_client *records, record_done_fn on_done, void *ctx,
                       struct err *err)
{
    if (!records->name[0])
        return err_set(err, E_NOT_FOUND, "the StatefulSet is not known yet");
    if (records->look)
        return err_set(err, E_BUSY, "it is being asked");
    auto_buf struct buf path;
    buf_init(&path, KIB(2));
    char selector[sizeof "metadata.name=" + KUBE_NAME_SIZE];
    text_format(selector, sizeof selector, "metadata.name=%s", records->name);
    kube_path(records->client, &path, "", "configmaps", NULL);
    kube_path_query(&path, "fieldSelector", selector); /* the right to list is there as it is */
    struct kube_call call = {.verb = KUBE_LIST,
                             .path = buf_str(&path),
                             .on_done = record_client_on_look,
                             .ctx = records};
    struct err why = {0};
    struct kube_request *request = kube_start(records->client, &call, &why);
    if (!request)
        return err_set(err, why.code, "%s", why.msg);
    records->look = request;
    records->on_look = on_done;
    records->look_ctx = ctx;
    return 0;
}

int record_client_put(struct record_client *records, const struct record *record,
                      const char *version, record_done_fn on_done, void *ctx, struct err *err)
{
    if (!records->name[0])
        return err_set(err, E_NOT_FOUND, "the StatefulSet is not known yet");
    if (records->request)
        return err_set(err, E_BUSY, "a write of the record is in flight");
    auto_buf struct buf body;
    auto_buf struct buf path;
    buf_init(&body, RECORD_BODY_MAX);
    buf_init(&path, KIB(2));
    if (kube_record_format(kube_client_namespace(records->client), records->name, version, record,
                           &body) < 0)
        return err_set(err, E_LIMIT, "the record is larger than an object may be");
    bool create = version[0] == '\0';
    kube_path(records->client, &path, "", "configmaps", create ? NULL : records->name);
    struct kube_call call = {
        .verb = create ? KUBE_POST : KUBE_PUT,
        .path = buf_str(&path),
        .body = {buf_str(&body), body.len},
        .on_done = record_client_on_done,
        .ctx = records,
    };
    struct err why = {0};
    struct kube_request *request = kube_start(records->client, &call, &why);
    if (!request)
        return err_set(err, why.code, "%s", why.msg);
    records->request = request;
    records->create = create;
    records->on_done = on_done;
    records->ctx = ctx;
    return 0;
}
