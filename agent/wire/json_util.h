/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON within wire: a guarded parse, a reader whose first error sticks, and strings on their way
 * out. Included by wire's own .c files only; cJSON's types go no further.
 *
 * A reader function on a parent that is NULL, on a key that is missing or null, or after an error
 * does nothing: outputs keep their defaults, so a whole object is read without a branch and the
 * result is checked once. Of a repeated key the first counts.
 */
#ifndef MUSTER_WIRE_JSON_UTIL_H
#define MUSTER_WIRE_JSON_UTIL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/*
 * cJSON builds about 80 bytes for each value, "1," included: this keeps a hostile document of
 * HTTP_BODY_MAX from becoming 600 MiB. A page of KUBE_PAGE_SIZE pods has room for 2,600 values each.
 */
#define JSON_VALUES_MAX 262144

/* Integers beyond this are not exact in a double, which is all that cJSON keeps. */
#define JSON_INT_MAX (INT64_C(1) << 53)

DEFINE_CLEANUP(cJSON_Delete, cJSON *)
#define auto_json cleanup_with(cJSON_Deletep)

/*
 * An object and nothing behind it but white space. E_PROTO for anything else, E_LIMIT above
 * `text_max` bytes, JSON_DEPTH_MAX levels or JSON_VALUES_MAX values, told before anything is built.
 */
must_check int json_parse(struct span text, size_t text_max, cJSON **ret_root, struct err *err);

struct json_reader {
    int result; /* 0, or the code of the first error */
    struct err *err;
    struct arena *arena; /* for what does not fit in a struct */
};

/* The first error wins. `key` of `parent` is named in front of the text. */
void json_fail(struct json_reader *reader, int code, const cJSON *parent, const char *key,
               const char *text);

/* NULL if missing; a value of another type is E_PROTO. */
const cJSON *json_get_object(struct json_reader *reader, const cJSON *parent, const char *key);
const cJSON *json_get_array(struct json_reader *reader, const cJSON *parent, const char *key);

/* A string that fits dst[size] (else E_LIMIT) and satisfies `is_valid`, if that is given. */
void json_get_text(struct json_reader *reader, const cJSON *parent, const char *key,
                   bool (*is_valid)(struct span), char *dst, size_t size);
#define JSON_GET_TEXT(reader, parent, key, is_valid, dst) \
    json_get_text((reader), (parent), (key), (is_valid), (dst), sizeof(dst))

/* An integer within min..max, both within +-JSON_INT_MAX. */
void json_get_int(struct json_reader *reader, const cJSON *parent, const char *key, int64_t min,
                  int64_t max, int64_t *ret_value);

void json_get_bool(struct json_reader *reader, const cJSON *parent, const char *key,
                   bool *ret_value);

/* E_PROTO "no <key>" if the text read into `dst` is empty. */
void json_require(struct json_reader *reader, const cJSON *parent, const char *key,
                  const char *dst);

/*
 * A JSON string with its quotes, of at most `max` bytes of `text`. Control characters are escaped,
 * bytes that are not UTF-8 become '?': the API refuses them.
 */
void json_put_text(struct buf *buf, const char *text, size_t max);

/* ,"<key>":"<text>" */
void json_put_field(struct buf *buf, const char *key, const char *text);

#endif
