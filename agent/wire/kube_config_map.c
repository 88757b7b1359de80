/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

#include <string.h>

#include "base/limits.h"
#include "wire/record_json.h"

/* Of one record of NODES_MAX members, as many ids to forget, and what is needed to check them. */
#define RECORD_ARENA MIB(1)

void kube_read_config_map(struct json_reader *reader, const cJSON *object,
                          struct kube_config_map *map)
{
    kube_read_meta(reader, object, &map->meta);
    const cJSON *data = json_get_object(reader, object, "data");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(data, KUBE_RECORD_KEY);
    if (arena_room(reader->arena) < RECORD_ARENA)
        json_fail(reader, E_LIMIT, object, "data", "too many records in one page");
    if (reader->result < 0)
        return;
    struct err problem = {0};
    int r = cJSON_IsString(text)
                ? record_parse(span_of(text->valuestring), reader->arena, &map->record, &problem)
                : err_set(&problem, E_INVALID, "no data[" KUBE_RECORD_KEY "]");
    map->readable = r == 0;
    memcpy(map->problem, problem.msg, sizeof map->problem);
}

int kube_record_format(const char *namespace, const char *name, const char *resource_version,
                       const struct record *record, struct buf *buf)
{
    auto_buf struct buf text = {.ceiling = RECORD_TEXT_MAX};
    if (record_format(record, &text) < 0)
        return E_LIMIT;
    kube_put_head(buf, "v1", KUBE_CONFIG_MAP, namespace, name, resource_version);
    (void)buf_append_str(buf, ",\"data\":{\"" KUBE_RECORD_KEY "\":");
    json_put_text(buf, buf_str(&text), text.len);
    (void)buf_append_str(buf, "}}");
    return buf->failed ? E_LIMIT : 0;
}
