/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json_util.h"

#include <string.h>

#include "base/limits.h"

/* Behind the closing quote of the string whose opening quote is at `i`; the end if it has none. */
static size_t json_skip_string(struct span text, size_t i)
{
    for (i++; i < text.len && text.ptr[i] != '"'; i++)
        if (text.ptr[i] == '\\')
            i++;
    return i + 1;
}

/* Depth and values, counted without building anything: cJSON would recurse and allocate first. */
static int json_scan(struct span text, struct err *err)
{
    size_t depth = 0;
    size_t values = 1;
    for (size_t i = 0; i < text.len;) {
        char c = text.ptr[i];
        if (c == '"') {
            i = json_skip_string(text, i);
            continue;
        }
        i++;
        if (c == '{' || c == '[') {
            values++;
            if (++depth > JSON_DEPTH_MAX)
                return err_set(err, E_LIMIT, "JSON: nested deeper than %d", JSON_DEPTH_MAX);
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        } else if (c == ',' && ++values > JSON_VALUES_MAX) {
            return err_set(err, E_LIMIT, "JSON: more than %d values", JSON_VALUES_MAX);
        }
    }
    return 0;
}

static bool json_is_space(const char *from, const char *end)
{
    for (; from < end; from++)
        if (*from != ' ' && *from != '\t' && *from != '\n' && *from != '\r')
            return false;
    return true;
}

int json_parse(struct span text, size_t text_max, cJSON **ret_root, struct err *err)
{
    if (text.len > text_max)
        return err_set(err, E_LIMIT, "JSON: longer than %zu bytes", text_max);
    int r = json_scan(text, err);
    if (r < 0)
        return r;
    const char *end = text.ptr;
    auto_json cJSON *root = cJSON_ParseWithLengthOpts(text.ptr, text.len, &end, false);
    if (!root)
        return err_set(err, E_PROTO, "JSON: malformed at byte %td", end ? end - text.ptr : 0);
    if (!json_is_space(end, text.ptr + text.len))
        return err_set(err, E_PROTO, "JSON: more behind the value");
    if (!cJSON_IsObject(root))
        return err_set(err, E_PROTO, "JSON: not an object");
    *ret_root = TAKE(root);
    return 0;
}

void json_fail(struct json_reader *reader, int code, const cJSON *parent, const char *key,
               const char *text)
{
    if (reader->result < 0)
        return;
    /* A parent's key was looked up by one of ours, or is escaped by the log. */
    const char *above = parent && parent->string ? parent->string : "";
    reader->result =
        err_set(reader->err, code, "%.60s%s%s: %s", above, *above ? "." : "", key, text);
}

static const cJSON *json_get(const struct json_reader *reader, const cJSON *parent, const char *key)
{
    if (reader->result < 0)
        return NULL;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parent, key);
    return cJSON_IsNull(item) ? NULL : item;
}

const cJSON *json_get_object(struct json_reader *reader, const cJSON *parent, const char *key)
{
    const cJSON *item = json_get(reader, parent, key);
    if (!item || cJSON_IsObject(item))
        return item;
    json_fail(reader, E_PROTO, parent, key, "not an object");
    return NULL;
}

const cJSON *json_get_array(struct json_reader *reader, const cJSON *parent, const char *key)
{
    const cJSON *item = json_get(reader, parent, key);
    if (!item || cJSON_IsArray(item))
        return item;
    json_fail(reader, E_PROTO, parent, key, "not an array");
    return NULL;
}

void json_get_text(struct json_reader *reader, const cJSON *parent, const char *key,
                   bool (*is_valid)(struct span), char *dst, size_t size)
{
    const cJSON *item = json_get(reader, parent, key);
    if (!item)
        return;
    if (!cJSON_IsString(item)) {
        json_fail(reader, E_PROTO, parent, key, "not a string");
        return;
    }
    struct span text = span_of(item->valuestring);
    if (text.len >= size)
        json_fail(reader, E_LIMIT, parent, key, "too long");
    else if (text.len && is_valid && !is_valid(text))
        json_fail(reader, E_PROTO, parent, key, "malformed");
    else
        (void)text_copy(dst, size, text); /* it fits, and a C string holds no NUL */
}

void json_get_int(struct json_reader *reader, const cJSON *parent, const char *key, int64_t min,
                  int64_t max, int64_t *ret_value)
{
    const cJSON *item = json_get(reader, parent, key);
    if (!item)
        return;
    double number = cJSON_GetNumberValue(item); /* NaN for other types */
    if (!(number >= (double)min && number <= (double)max)) {
        json_fail(reader, E_PROTO, parent, key, "not a number in its range");
        return;
    }
    int64_t value = (int64_t)number;
    if ((double)value < number || (double)value > number)
        json_fail(reader, E_PROTO, parent, key, "not an integer");
    else
        *ret_value = value;
}

void json_get_bool(struct json_reader *reader, const cJSON *parent, const char *key,
                   bool *ret_value)
{
    const cJSON *item = json_get(reader, parent, key);
    if (!item)
        return;
    if (cJSON_IsBool(item))
        *ret_value = cJSON_IsTrue(item);
    else
        json_fail(reader, E_PROTO, parent, key, "not true or false");
}

void json_require(struct json_reader *reader, const cJSON *parent, const char *key, const char *dst)
{
    if (!dst[0])
        json_fail(reader, E_PROTO, parent, key, "missing");
}

void json_put_text(struct buf *buf, const char *text, size_t max)
{
    struct span rest = {text, strnlen(text, max)};
    (void)buf_append_str(buf, "\"");
    while (rest.len) {
        unsigned code;
        size_t len = text_utf8(rest, &code);
        unsigned char c = (unsigned char)rest.ptr[0];
        if (len == 0)
            (void)buf_append_str(buf, "?");
        else if (c == '"' || c == '\\')
            (void)buf_format(buf, "\\%c", c);
        else if (c == '\n')
            (void)buf_append_str(buf, "\\n");
        else if (c < ' ' || c == 0x7f)
            (void)buf_format(buf, "\\u%04x", c);
        else
            (void)buf_append(buf, rest.ptr, len);
        size_t step = len ? len : 1;
        rest = (struct span){rest.ptr + step, rest.len - step};
    }
    (void)buf_append_str(buf, "\"");
}

void json_put_field(struct buf *buf, const char *key, const char *text)
{
    (void)buf_format(buf, ",\"%s\":", key);
    json_put_text(buf, text, SIZE_MAX);
}
