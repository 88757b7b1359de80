/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/server_conf.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"

#define CONF_MAX MIB(1)
/* Each word of the arguments may double by quoting. */
#define ARGS_MAX MIB(1)
#define NAME_SIZE 256 /* NAME_MAX and a NUL */

/* ---- words ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `at` is behind a backslash within double quotes; returns the byte, with *used what it took. */
static char escaped(struct span at, size_t *used)
{
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    *used = 1;
    if (at.ptr[0] == 'x' && at.len >= 3 && hex_digit(at.ptr[1]) >= 0 && hex_digit(at.ptr[2]) >= 0) {
        *used = 3;
        return (char)(hex_digit(at.ptr[1]) * 16 + hex_digit(at.ptr[2]));
    }
    for (size_t i = 0; i < sizeof names - 1; i++)
        if (at.ptr[0] == names[i])
            return bytes[i];
    return at.ptr[0];
}

static struct span skip(struct span span, size_t len)
{
    return (struct span){span.ptr + len, span.len - len};
}

static bool is_space(char c)
{
    return isspace((unsigned char)c);
}

int server_conf_word(struct span *rest, char ret_word[SERVER_WORD_SIZE])
{
    struct span at = *rest;
    size_t len = 0;
    char quote = 0;
    while (at.len && is_space(at.ptr[0]))
        at = skip(at, 1);
    if (!at.len || !at.ptr[0])
        return 0;
    for (; at.len && (quote || !is_space(at.ptr[0])); at = skip(at, 1)) {
        char c = at.ptr[0];
        if (quote && c == quote) {
            quote = 0;
            /* a closing quote ends the word */
            if (at.len > 1 && !is_space(at.ptr[1]))
                return -1;
            continue;
        }
        if (!quote && (c == '"' || c == '\'')) {
            quote = c;
            continue;
        }
        if (quote == '"' && c == '\\' && at.len > 1) {
            size_t used;
            c = escaped(skip(at, 1), &used);
            at = skip(at, used);
        } else if (quote == '\'' && c == '\\' && at.len > 1 && at.ptr[1] == '\'') {
            c = '\'';
            at = skip(at, 1);
        }
        if (len == SERVER_WORD_SIZE - 1 || !c)
            return -1;
        ret_word[len++] = c;
    }
    if (quote)
        return -1;
    ret_word[len] = '\0';
    *rest = at;
    return 1;
}

/* ---- directives ---- */

/* Something was not read that may have set any of these; a later line may still tell. */
static void miss(struct server_conf *conf, const char *why, const char *what)
{
    conf->cluster_enabled = conf->appendonly = conf->save = HOOK_UNKNOWN;
    if (!conf->error[0])
        text_format(conf->error, sizeof conf->error, "%s%s%s", why, what[0] ? ": " : "", what);
}

static enum hook_truth yes_or_no(const char *word)
{
    if (strcasecmp(word, "yes") == 0)
        return HOOK_TRUE;
    return strcasecmp(word, "no") == 0 ? HOOK_FALSE : HOOK_UNKNOWN;
}

/* `dir` is obeyed line by line (chdir), so a relative one starts from the last. */
static void enter_dir(struct server_conf *conf, const char *word)
{
    char joined[SERVER_WORD_SIZE];
    if (file_join(conf->dir, word, joined, sizeof joined, NULL) < 0)
        miss(conf, "the path is too long", word);
    else
        memcpy(conf->dir, joined, sizeof joined);
}

static void read_text(struct server_conf *conf, struct span text, bool included);

static void read_file(struct server_conf *conf, const char *path, bool included)
{
    auto_buf struct buf text;
    struct err err = {0};
    buf_init(&text, CONF_MAX);
    if (file_read(path, &text, &err) < 0)
        miss(conf, err.msg, "");
    else
        read_text(conf, (struct span){buf_str(&text), text.len}, included);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* '*' and '?' as in fnmatch(): on a mismatch the last star takes one byte more. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *taken = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            taken = name;
        } else if (*pattern && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

/* The first name in the directory, in order, that matches and comes behind `after`; "" if none. */
static bool next_match(const char *dir_path, const char *pattern, const char *after,
                       char ret_name[NAME_SIZE])
{
    char best[NAME_SIZE] = "";
    DIR *dir = opendir(dir_path);
    if (!dir)
        return false;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        bool hidden = name[0] == '.' && pattern[0] != '.';
        if (hidden || strcmp(name, after) <= 0 || (best[0] && strcmp(name, best) >= 0) ||
            !matches(pattern, name))
            continue;
        text_format(best, sizeof best, "%s", name);
    }
    (void)closedir(dir);
    memcpy(ret_name, best, sizeof best);
    return best[0] != '\0';
}

/*
 * A pattern since 7.0; one that matches nothing includes nothing. Wildcards are followed in the last
 * part of the path only.
 */
static void include(struct server_conf *conf, const char *pattern, bool included)
{
    if (included) {
        miss(conf, "an include in an included file is not followed", pattern);
        return;
    }
    const char *wild = strpbrk(pattern, "*?[");
    if (!wild) {
        read_file(conf, pattern, true);
        return;
    }
    const char *last = base_name(pattern);
    char dir[SERVER_WORD_SIZE], name[NAME_SIZE] = "", path[SERVER_WORD_SIZE + NAME_SIZE];
    text_format(dir, sizeof dir, "%.*s", (int)(last - pattern), pattern);
    if (wild < last || strchr(last, '[')) {
        miss(conf, "cannot follow the pattern of an include", pattern);
        return;
    }
    while (next_match(dir[0] ? dir : ".", last, name, name)) {
        text_format(path, sizeof path, "%s%s", dir, name);
        read_file(conf, path, true);
    }
}

static void obey(struct server_conf *conf, const char *name, const char *word, bool included)
{
    const struct {
        const char *name;
        char *text;
        enum hook_truth *truth;
    } names[] = {
        {"cluster-config-file", conf->nodes_conf, NULL},
        {"dbfilename", conf->dbfilename, NULL},
        {"appenddirname", conf->appenddirname, NULL},
        {"appendfilename", conf->appendfilename, NULL},
        {"cluster-enabled", NULL, &conf->cluster_enabled},
        {"appendonly", NULL, &conf->appendonly},
    };
    if (strcasecmp(name, "include") == 0)
        include(conf, word, included);
    else if (strcasecmp(name, "dir") == 0)
        enter_dir(conf, word);
    else if (strcasecmp(name, "save") == 0)
        conf->save = word[0] ? HOOK_TRUE : HOOK_FALSE;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(name, names[i].name) != 0)
            continue;
        if (names[i].truth)
            *names[i].truth = yes_or_no(word);
        else
            text_format(names[i].text, SERVER_WORD_SIZE, "%s", word);
    }
}

static void read_text(struct server_conf *conf, struct span text, bool included)
{
    for (struct span line; span_line(&text, &line);) {
        char name[SERVER_WORD_SIZE], word[SERVER_WORD_SIZE];
        struct span rest = line;
        int r = server_conf_word(&rest, name);
        if (r == 0 || (r > 0 && name[0] == '#'))
            continue;
        if (r > 0)
            r = server_conf_word(&rest, word);
        /* a directive without a value is the server's to refuse */
        if (r > 0)
            obey(conf, name, word, included);
    }
}

/* ---- COMMAND ---- */

static bool is_server(const char *word)
{
    return strcmp(word, "redis-server") == 0 || strcmp(word, "valkey-server") == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* The server's first argument, or NULL if COMMAND is nothing that we know. */
static char *const *find_arguments(char *const *argv, struct server_conf *conf)
{
    for (char *const *word = argv; *word; word++) {
        const char *name = base_name(*word);
        const char *next = word[1];
        if (is_server(name)) {
            text_format(conf->server, sizeof conf->server, "%s", name);
            return word + 1;
        }
        /* the official images' entrypoint puts the server before such a first argument */
        if (strcmp(name, "docker-entrypoint.sh") == 0 && next &&
            (next[0] == '-' || ends_with(next, ".conf")))
            return word + 1;
        /* a shell's text: what is behind it are the shell's arguments */
        if (strcmp(name, "-c") == 0)
            return NULL;
    }
    return NULL;
}

/* As main() of the server does: "--name" begins a line, other words are quoted values of it. */
static void append_argument(struct buf *text, const char *word)
{
    if (strncmp(word, "--", 2) == 0) {
        (void)buf_format(text, "\n%s ", word + 2);
        return;
    }
    (void)buf_append(text, "\"", 1);
    for (; *word; word++) {
        if (*word == '"' || *word == '\\')
            (void)buf_append(text, "\\", 1);
        if (*word == '\n')
            (void)buf_append(text, "\\n", 2);
        else
            (void)buf_append(text, word, 1);
    }
    (void)buf_append(text, "\" ", 2);
}

static void read_arguments(struct server_conf *conf, char *const *args)
{
    if (*args && args[0][0] != '-')
        read_file(conf, *args++, false);
    auto_buf struct buf text;
    buf_init(&text, ARGS_MAX);
    for (; *args; args++) {
        if (strcmp(*args, "-") == 0)
            miss(conf, "a part of the configuration comes from standard input", "");
        else
            append_argument(&text, *args);
    }
    if (text.failed)
        miss(conf, "the arguments are too long", "");
    else
        read_text(conf, (struct span){buf_str(&text), text.len}, false);
    /* the entrypoint of Valkey's image puts it behind all others */
    const char *extra = getenv("VALKEY_EXTRA_FLAGS");
    if (extra && extra[0])
        miss(conf, "VALKEY_EXTRA_FLAGS may hold more of the configuration", "");
}

void server_conf_read(char *const *argv, struct server_conf *ret_conf)
{
    struct server_conf conf = {
        .nodes_conf = "nodes.conf",
        .dbfilename = "dump.rdb",
        .appenddirname = "appendonlydir",
        .appendfilename = "appendonly.aof",
        .cluster_enabled = HOOK_FALSE,
        .appendonly = HOOK_FALSE,
        .save = HOOK_TRUE,
    };
    char *const *args = find_arguments(argv, &conf);
    if (args) {
        conf.known = true;
        read_arguments(&conf, args);
    } else {
        miss(&conf, "the command is no server whose configuration can be found", argv[0]);
    }
    *ret_conf = conf;
}
