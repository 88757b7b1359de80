/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"

static void golden_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        fail_msg("cannot write %s", path);
    (void)fputs(text, file);
    if (fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

static void golden_read(const char *path, struct buf *out)
{
    char chunk[4096];
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("no %s: run with UPDATE_GOLDEN=1 and read what it wrote", path);
    for (size_t len; (len = fread(chunk, 1, sizeof chunk, file)) > 0;)
        (void)buf_append(out, chunk, len);
    (void)fclose(file);
}

void golden_assert_text(const char *name, const char *text)
{
    char path[512];
    text_format(path, sizeof path, "%s/unit/golden/%s", MUSTER_TESTS_DIR, name);
    struct buf got;
    struct buf want;
    buf_init(&got, MIB(1));
    buf_init(&want, MIB(1));
    (void)buf_append_str(&got, text);
    if (!got.len || got.bytes[got.len - 1] != '\n')
        (void)buf_append_str(&got, "\n");
    if (getenv("UPDATE_GOLDEN"))
        golden_write(path, buf_str(&got));
    golden_read(path, &want);
    bool same = strcmp(buf_str(&got), buf_str(&want)) == 0;
    if (!same)
        print_error("%s\n---- want\n%s---- got\n%s", path, buf_str(&want), buf_str(&got));
    buf_deinit(&got);
    buf_deinit(&want);
    assert_true(same);
}
