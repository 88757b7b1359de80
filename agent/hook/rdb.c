/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an RDB file, as far as the first database. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "hook/data_files.h"

/* Opcodes and length encodings of rdb.h. */
enum {
    OPCODE_FUNCTION2 = 245,
    OPCODE_AUX = 250,
    OPCODE_SELECTDB = 254,
    OPCODE_EOF = 255,
    LENGTH_32 = 0x80,
    LENGTH_64 = 0x81,
    ENCODED_INT8 = 0xc0,
    ENCODED_INT16 = 0xc1,
    ENCODED_INT32 = 0xc2,
    ENCODED_LZF = 0xc3,
};

#define MAGIC_LEN 9 /* "REDIS0012" or "VALKEY080" */
#define CHECKSUM_LEN 8
/* Auxiliary fields and functions before the first database: about ten, and the user's libraries. */
#define SECTIONS_MAX 100000

struct head {
    int fd;
    int64_t at;
    int64_t size;
};

static bool read_bytes(struct head *head, unsigned char *bytes, size_t len)
{
    if (pread(head->fd, bytes, len, head->at) != (ssize_t)len)
        return false;
    head->at += (int64_t)len;
    return true;
}

static bool skip(struct head *head, uint64_t len)
{
    if (len > (uint64_t)(head->size - head->at))
        return false;
    head->at += (int64_t)len;
    return true;
}

/* The length behind `first`, which is no ENCODED_ byte. */
static bool read_length(struct head *head, unsigned char first, uint64_t *ret_length)
{
    unsigned char bytes[8] = {0};
    size_t len = first == LENGTH_64 ? 8 : 4;
    if (first < 0x40) {
        *ret_length = first;
        return true;
    }
    if (first < LENGTH_32) {
        if (!read_bytes(head, bytes, 1))
            return false;
        *ret_length = (uint64_t)(first & 0x3f) << 8 | bytes[0];
        return true;
    }
    if (first > LENGTH_64 || !read_bytes(head, bytes, len))
        return false;
    uint64_t length = 0;
    for (size_t i = 0; i < len; i++)
        length = length << 8 | bytes[i];
    *ret_length = length;
    return true;
}

static bool skip_string(struct head *head)
{
    unsigned char first;
    uint64_t length, plain_length;
    if (!read_bytes(head, &first, 1))
        return false;
    switch (first) {
    case ENCODED_INT8:
        return skip(head, 1);
    case ENCODED_INT16:
        return skip(head, 2);
    case ENCODED_INT32:
        return skip(head, 4);
    case ENCODED_LZF:
        return read_bytes(head, &first, 1) && read_length(head, first, &length) &&
               read_bytes(head, &first, 1) && read_length(head, first, &plain_length) &&
               skip(head, length);
    default:
        return read_length(head, first, &length) && skip(head, length);
    }
}

static enum hook_truth find_database(struct head *head)
{
    unsigned char magic[MAGIC_LEN], opcode;
    if (!read_bytes(head, magic, MAGIC_LEN))
        return HOOK_UNKNOWN;
    if (memcmp(magic, "REDIS", 5) != 0 && memcmp(magic, "VALKEY", 6) != 0)
        return HOOK_UNKNOWN;
    for (int i = 0; i < SECTIONS_MAX && read_bytes(head, &opcode, 1); i++) {
        switch (opcode) {
        case OPCODE_AUX:
            if (!skip_string(head))
                return HOOK_UNKNOWN;
            if (!skip_string(head))
                return HOOK_UNKNOWN;
            break;
        case OPCODE_FUNCTION2:
            if (!skip_string(head))
                return HOOK_UNKNOWN;
            break;
        case OPCODE_SELECTDB:
            return HOOK_TRUE;
        case OPCODE_EOF: /* and commands behind it, where this is the head of an AOF */
            return head->size - head->at > CHECKSUM_LEN ? HOOK_TRUE : HOOK_FALSE;
        default:
            return HOOK_UNKNOWN;
        }
    }
    return HOOK_UNKNOWN;
}

int data_files_rdb(const char *path, enum hook_truth *ret_keys, int64_t *ret_bytes, struct err *err)
{
    struct stat st;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, E_NOT_FOUND, "%s is not there", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "open %s", path);
    struct head head = {.fd = fd, .size = st.st_size};
    *ret_keys = st.st_size ? find_database(&head) : HOOK_FALSE;
    *ret_bytes = st.st_size;
    return 0;
}
