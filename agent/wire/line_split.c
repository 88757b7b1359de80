/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/line_split.h"

#include "base/cleanup.h"

void line_split_init(struct line_split *split, size_t line_max)
{
    buf_init(&split->part, line_max + 1); /* and its \r */
}

void line_split_deinit(struct line_split *split)
{
    buf_deinit(&split->part);
}

void line_split_clear(struct line_split *split)
{
    buf_clear(&split->part);
}

static int line_split_too_long(const struct line_split *split, struct err *err)
{
    return err_set(err, E_LIMIT, "line longer than %zu bytes", split->part.ceiling - 1);
}

/* A complete line: as it lies in the bytes, or joined with what came before. */
static int line_split_emit(struct line_split *split, struct span line, line_fn on_line,
                           void *context, struct err *err)
{
    if (split->part.len) {
        if (buf_append(&split->part, line.ptr, line.len) < 0)
            return line_split_too_long(split, err);
        line = (struct span){split->part.bytes, split->part.len};
    }
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len >= split->part.ceiling)
        return line_split_too_long(split, err);
    int r = line.len ? on_line(context, line, err) : 0;
    buf_clear(&split->part);
    return r;
}

int line_split_feed(struct line_split *split, struct span bytes, line_fn on_line, void *context,
                    struct err *err)
{
    while (span_find(bytes, '\n') >= 0) {
        int r = line_split_emit(split, span_until(&bytes, '\n'), on_line, context, err);
        if (r)
            return r;
    }
    if (buf_append(&split->part, bytes.ptr, bytes.len) < 0)
        return line_split_too_long(split, err);
    return 0;
}

bool line_split_is_partial(const struct line_split *split)
{
    return split->part.len > 0;
}
