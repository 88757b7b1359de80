/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/data_files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"

#define PATH_SIZE (3 * HOOK_PATH_SIZE)
/* A line for each file; a rewrite leaves two or three of them. */
#define MANIFEST_MAX MIB(1)

/* The first thing that could not be read is what is told. */
static void complain(struct hook_facts *facts, const struct err *err)
{
    if (!facts->data_dir_error[0])
        text_format(facts->data_dir_error, sizeof facts->data_dir_error, "%s", err->msg);
}

static void read_dir(const char *path, struct hook_facts *facts)
{
    struct err err = {0};
    DIR *dir = opendir(path);
    if (!dir) {
        (void)err_errno(&err, errno, "open %s", path);
        complain(facts, &err);
        return;
    }
    facts->dir_empty = HOOK_TRUE;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            facts->dir_empty = HOOK_FALSE;
    (void)closedir(dir);
}

/* ---- nodes.conf ---- */

static void take_nodes(const struct nodes_conf *conf, struct hook_facts *facts)
{
    facts->myself = conf->nodes[conf->myself];
    facts->peers = xcalloc(conf->count, sizeof *facts->peers);
    facts->peer_count = 0;
    for (size_t i = 0; i < conf->count; i++) {
        const struct nodes_conf_node *node = &conf->nodes[i];
        if (i == conf->myself)
            continue;
        struct hook_peer *peer = &facts->peers[facts->peer_count++];
        peer->id = node->id;
        memcpy(peer->ip, node->ip, sizeof peer->ip);
        peer->port = node->port;
        peer->bus_port = node->bus_port;
        peer->flags = node->flags;
    }
}

/* True if there is a file without a byte, which to a server is as good as none. */
static bool read_nodes_conf(const char *path, struct hook_facts *facts)
{
    struct err err = {0};
    auto_buf struct buf text;
    auto_nodes_conf struct nodes_conf conf = {0};
    buf_init(&text, NODES_CONF_MAX);
    int r = file_read(path, &text, &err);
    if (r == E_NOT_FOUND || (r == 0 && !text.len)) {
        facts->nodes_conf = HOOK_NODES_CONF_ABSENT;
        return r == 0;
    }
    if (r < 0) {
        facts->nodes_conf = HOOK_NODES_CONF_UNREADABLE;
    } else if ((r = nodes_conf_parse((struct span){buf_str(&text), text.len}, &conf, &err)) < 0) {
        facts->nodes_conf = r == E_LIMIT ? HOOK_NODES_CONF_UNREADABLE : HOOK_NODES_CONF_CORRUPT;
    } else {
        facts->nodes_conf = HOOK_NODES_CONF_PRESENT;
        take_nodes(&conf, facts);
        return false;
    }
    text_format(facts->nodes_conf_error, sizeof facts->nodes_conf_error, "%s", err.msg);
    return false;
}

/*
 * A server makes the file before it writes to it, so one that never ran may leave it so. With keys
 * beside it, it was cut: under a new id the server would take every slot that it has keys of
 * (verifyClusterConfigWithData), and could not be made a replica.
 */
static void judge_cut(struct hook_facts *facts)
{
    if (facts->rdb_keys != HOOK_TRUE && facts->aof_keys != HOOK_TRUE)
        return;
    facts->nodes_conf = HOOK_NODES_CONF_CORRUPT;
    text_format(facts->nodes_conf_error, sizeof facts->nodes_conf_error,
                "it has no byte, but there are keys beside it");
}

/* ---- data ---- */

static void read_rdb(const char *path, struct hook_facts *facts)
{
    struct err err = {0};
    int r = data_files_rdb(path, &facts->rdb_keys, &facts->rdb_bytes, &err);
    if (r == 0)
        facts->rdb = HOOK_TRUE;
    else if (r == E_NOT_FOUND)
        facts->rdb = HOOK_FALSE;
    else
        complain(facts, &err);
}

/* Either form of a base: an RDB, or commands, of which any byte is a key. */
static int read_base(const char *path, struct hook_facts *facts, enum hook_truth *ret_keys)
{
    struct err err = {0};
    int64_t bytes;
    enum hook_truth keys;
    int r = data_files_rdb(path, &keys, &bytes, &err);
    if (r < 0) {
        if (r != E_NOT_FOUND)
            complain(facts, &err);
        return r;
    }
    size_t len = strlen(path);
    bool commands = len > 4 && strcmp(path + len - 4, ".rdb") != 0;
    if (keys == HOOK_UNKNOWN && commands)
        keys = HOOK_TRUE;
    facts->aof_base_bytes += bytes;
    *ret_keys = keys;
    return 0;
}

struct manifest_line {
    char file[SERVER_WORD_SIZE];
    char type; /* b base, i increment, h history (left over from a rewrite, not loaded) */
};

/* "file <name> seq <n> type <b|i|h>", keys in any order (aof.c of 7.0). */
static bool read_manifest_line(struct span text, struct manifest_line *ret_line)
{
    char key[SERVER_WORD_SIZE], value[SERVER_WORD_SIZE];
    *ret_line = (struct manifest_line){0};
    while (server_conf_word(&text, key) > 0) {
        if (server_conf_word(&text, value) <= 0)
            return false;
        if (strcmp(key, "file") == 0)
            memcpy(ret_line->file, value, sizeof value);
        else if (strcmp(key, "type") == 0)
            ret_line->type = value[0];
    }
    return ret_line->file[0] && ret_line->type;
}

/* One file that the manifest names; false if it is not there. */
static bool read_manifest_file(const char *dir, const struct manifest_line *line,
                               struct hook_facts *facts)
{
    char path[PATH_SIZE];
    struct err err = {0};
    struct stat st;
    if (line->type == 'h')
        return true;
    if (file_join(dir, line->file, path, sizeof path, &err) < 0) {
        complain(facts, &err);
        return false;
    }
    if (line->type == 'b')
        return read_base(path, facts, &facts->aof_keys) == 0;
    if (stat(path, &st) < 0)
        return false;
    facts->aof_incr_bytes += st.st_size;
    return true;
}

static void read_manifest(const char *dir, struct span text, struct hook_facts *facts)
{
    facts->aof = facts->aof_complete = HOOK_TRUE;
    facts->aof_keys = HOOK_FALSE;
    for (struct span line; span_line(&text, &line);) {
        struct manifest_line file;
        if (!line.len || line.ptr[0] == '#')
            continue;
        if (!read_manifest_line(line, &file) || !read_manifest_file(dir, &file, facts))
            facts->aof_complete = HOOK_FALSE;
    }
    if (facts->aof_incr_bytes)
        facts->aof_keys = HOOK_TRUE;
}

static void read_aof(const char *dir, const struct server_conf *conf, struct hook_facts *facts)
{
    char aof_dir[PATH_SIZE], name[SERVER_WORD_SIZE + 16], path[PATH_SIZE];
    struct err err = {0};
    auto_buf struct buf text;
    buf_init(&text, MANIFEST_MAX);
    text_format(name, sizeof name, "%s.manifest", conf->appendfilename);
    int r = file_join(dir, conf->appenddirname, aof_dir, sizeof aof_dir, &err);
    if (r == 0)
        r = file_join(aof_dir, name, path, sizeof path, &err);
    if (r == 0)
        r = file_read(path, &text, &err);
    if (r == 0) {
        read_manifest(aof_dir, (struct span){buf_str(&text), text.len}, facts);
        return;
    }
    if (r != E_NOT_FOUND) {
        complain(facts, &err);
        return;
    }
    /* 7.0 takes over the single file of 6.2 where there is no manifest (aofUpgradePrepare) */
    facts->aof = HOOK_FALSE;
    if (file_join(dir, conf->appendfilename, path, sizeof path, NULL) == 0 &&
        read_base(path, facts, &facts->aof_keys) == 0)
        facts->aof = facts->aof_complete = HOOK_TRUE;
}

void data_files_read(const char *dir, const struct server_conf *conf, struct hook_facts *facts)
{
    char path[PATH_SIZE];
    struct err err = {0};
    bool cut = false;
    text_format(facts->data_dir, sizeof facts->data_dir, "%s", dir);
    read_dir(dir, facts);
    if (file_join(dir, conf->nodes_conf, facts->nodes_conf_file, sizeof facts->nodes_conf_file,
                  &err) < 0) {
        facts->nodes_conf = HOOK_NODES_CONF_UNREADABLE;
        text_format(facts->nodes_conf_error, sizeof facts->nodes_conf_error, "%s", err.msg);
    } else {
        cut = read_nodes_conf(facts->nodes_conf_file, facts);
    }
    if (file_join(dir, conf->dbfilename, path, sizeof path, &err) < 0)
        complain(facts, &err);
    else
        read_rdb(path, facts);
    read_aof(dir, conf, facts);
    if (cut)
        judge_cut(facts);
}
