/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "core/hosts.h"
#include "core/lease.h"
#include "io/record_copy.h"
#include "wire/record_json.h"

#define HOST_RECORD_ARENA_MAX MIB(16)

struct host_record {
    struct loop *loop;
    char *path; /* owned */
    struct buf text;
    struct arena arena; /* of the record */
    struct record record;
    bool known;
    uint64_t hash;
    int64_t highest; /* generation that was heard of */
    char version[RESOURCE_VERSION_SIZE];
    char problem[ERR_MSG_SIZE];
    struct loop_deferred later; /* the end of a put */
    record_done_fn on_done;
    void *ctx;
};

/* ---- the file ---- */

static int file_read(const char *path, struct buf *text, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? E_NOT_FOUND : err_errno(err, errno, "%s", path);
    char chunk[4096];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        if (buf_append(text, chunk, (size_t)got) < 0)
            return err_set(err, E_LIMIT, "%s: longer than %zu bytes", path, RECORD_TEXT_MAX);
    return got < 0 ? err_errno(err, errno, "%s", path) : 0;
}

static int file_fill(int fd, struct span text)
{
    for (size_t done = 0; done < text.len;) {
        ssize_t put = write(fd, text.ptr + done, text.len - done);
        if (put < 0)
            return -1;
        done += (size_t)put;
    }
    return fsync(fd);
}

/* The rename itself must survive a crash too. */
static void file_sync_directory(const char *path)
{
    ptrdiff_t slash = span_rfind(span_of(path), '/');
    char directory[4096] = "/";
    if (slash > 0)
        (void)text_copy(directory, sizeof directory, (struct span){path, (size_t)slash});
    auto_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)fsync(fd);
}

static int file_replace(const char *path, struct span text, struct err *err)
{
    char next[4096];
    text_format(next, sizeof next, "%s.new", path);
    auto_close int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "%s", next);
    if (file_fill(fd, text) < 0 || rename(next, path) < 0)
        return err_errno(err, errno, "%s", path);
    file_sync_directory(path);
    return 0;
}

/* ---- the copy ---- */

static void host_record_keep(struct host_record *record, struct span text,
                             const struct record *parsed)
{
    arena_reset(&record->arena);
    record_copy(parsed, &record->arena, &record->record);
    buf_clear(&record->text);
    (void)buf_append(&record->text, text.ptr, text.len);
    record->known = true;
    record->problem[0] = '\0';
    record->hash = text_hash(TEXT_HASH_SEED, text.ptr, text.len);
    text_format(record->version, sizeof record->version, "%016" PRIx64, record->hash);
    host_record_heard(record, parsed->generation);
}

static void host_record_load(struct host_record *record)
{
    auto_buf struct buf text;
    struct arena arena;
    struct record parsed;
    struct err err = {0};
    buf_init(&text, RECORD_TEXT_MAX);
    arena_init(&arena, HOST_RECORD_ARENA_MAX);
    int r = file_read(record->path, &text, &err);
    if (r == 0) {
        struct span span = {buf_str(&text), text.len};
        r = record_parse(span, &arena, &parsed, &err);
        if (r == 0)
            host_record_keep(record, span, &parsed);
    }
    if (r < 0 && r != E_NOT_FOUND)
        text_format(record->problem, sizeof record->problem, "%s", err.msg);
    arena_deinit(&arena);
}

struct host_record *host_record_new(struct loop *loop, const char *path)
{
    struct host_record *record = xcalloc(1, sizeof *record);
    record->loop = loop;
    record->path = xstrdup(path);
    buf_init(&record->text, RECORD_TEXT_MAX);
    arena_init(&record->arena, HOST_RECORD_ARENA_MAX);
    host_record_load(record);
    return record;
}

void host_record_free(struct host_record *record)
{
    if (!record)
        return;
    loop_undefer(record->loop, &record->later);
    buf_deinit(&record->text);
    arena_deinit(&record->arena);
    free(record->path);
    free(record);
}

const struct record *host_record_get(const struct host_record *record)
{
    return record->known ? &record->record : NULL;
}

struct span host_record_text(const struct host_record *record)
{
    return (struct span){buf_str(&record->text), record->text.len};
}

uint64_t host_record_hash(const struct host_record *record)
{
    return record->hash;
}

const char *host_record_version(const struct host_record *record)
{
    return record->version;
}

const char *host_record_problem(const struct host_record *record)
{
    return record->problem;
}

void host_record_heard(struct host_record *record, int64_t generation)
{
    if (generation > record->highest)
        record->highest = generation;
}

int host_record_take(struct host_record *record, struct span text, bool empty, struct err *err)
{
    struct arena arena;
    struct record parsed;
    const char *why;
    arena_init(&arena, HOST_RECORD_ARENA_MAX);
    int r = record_parse(text, &arena, &parsed, err);
    if (r == 0 && !hosts_may_take(host_record_get(record), &parsed, empty, &why))
        r = err_set(err, E_CONFLICT, "%s", why);
    if (r == 0)
        r = file_replace(record->path, text, err);
    if (r == 0)
        host_record_keep(record, text, &parsed);
    arena_deinit(&arena);
    return r;
}

static void host_record_on_written(void *ctx)
{
    struct host_record *record = ctx;
    struct err err = {0};
    record->on_done(record->ctx, record->version, &err);
}

int host_record_put(struct host_record *record, const struct record *from, const char *version,
                    record_done_fn on_done, void *ctx, struct err *err)
{
    if (record->later.queued)
        return err_set(err, E_BUSY, "a write of the record is in flight");
    if (strcmp(version, record->version) != 0)
        return err_set(err, E_CONFLICT, "the record was replaced meanwhile");
    struct record next = *from;
    auto_buf struct buf text;
    buf_init(&text, RECORD_TEXT_MAX);
    next.generation = record->highest + 1;
    if (record_format(&next, &text) < 0)
        return err_set(err, E_LIMIT, "the record is longer than %zu bytes", RECORD_TEXT_MAX);
    struct span span = {buf_str(&text), text.len};
    int r = file_replace(record->path, span, err);
    if (r < 0)
        return r;
    host_record_keep(record, span, &next);
    record->on_done = on_done;
    record->ctx = ctx;
    loop_defer(record->loop, &record->later, host_record_on_written, record);
    return 0;
}
