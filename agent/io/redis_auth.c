/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_auth.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "io/peer.h"

void redis_auth_init(struct redis_auth *auth, const char *username, const char *password_file)
{
    *auth = (struct redis_auth){.username = xstrdup(username ? username : ""),
                                .password_file = xstrdup(password_file ? password_file : "")};
}

void redis_auth_deinit(struct redis_auth *auth)
{
    free(auth->username);
    free(auth->password_file);
    explicit_bzero(auth, sizeof *auth);
}

static int auth_read(const char *path, struct redis_secret *secret, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, E_NOT_FOUND, "%s: %s", path, strerror(errno));
    ssize_t got = read(fd, secret->text, sizeof secret->text);
    if (got < 0)
        return err_set(err, E_NOT_FOUND, "%s: %s", path, strerror(errno));
    secret->len = (size_t)got;
    while (secret->len &&
           (secret->text[secret->len - 1] == '\n' || secret->text[secret->len - 1] == '\r'))
        secret->len--;
    return secret->len ? 0 : err_set(err, E_NOT_FOUND, "%s: empty", path);
}

static bool auth_take(struct redis_auth *auth, const struct redis_secret *fresh)
{
    struct redis_secret *present = &auth->secrets[0];
    if (fresh->len == present->len && memcmp(fresh->text, present->text, fresh->len) == 0)
        return false;
    if (present->len) {
        auth->secrets[1] = *present;
        LOG(LOG_INFO, "password_changed", LOG_S("file", auth->password_file));
    }
    *present = *fresh;
    return true;
}

bool redis_auth_refresh(struct redis_auth *auth, bool force)
{
    struct file_stamp stamp;
    struct redis_secret fresh = {0};
    struct err err = {0};
    bool changed = false;
    if (!auth->password_file[0])
        return false;
    int rc = file_stamp_take(auth->password_file, SECRET_MAX, &stamp, &err);
    if (rc == 0 && !force && file_stamp_eq(&stamp, &auth->stamp))
        return false;
    if (rc == 0)
        rc = auth_read(auth->password_file, &fresh, &err);
    if (rc == 0) {
        changed = auth_take(auth, &fresh);
        auth->stamp = stamp;
    } else if (!auth->said) {
        LOG(LOG_WARN, "password_file", LOG_S("msg", "redis.passwordFile cannot be used"),
            LOG_S("reason", err.msg));
    }
    auth->said = rc < 0;
    explicit_bzero(&fresh, sizeof fresh);
    return changed;
}

size_t redis_auth_count(const struct redis_auth *auth)
{
    size_t count = 0;
    while (count < REDIS_SECRETS && auth->secrets[count].len)
        count++;
    return count;
}

void redis_auth_command(const struct redis_auth *auth, size_t nth, struct peer_command *command)
{
    assert(nth < redis_auth_count(auth));
    const struct redis_secret *secret = &auth->secrets[nth];
    command->word_count = 0;
    command->words[command->word_count++] = span_of("AUTH");
    if (auth->username[0])
        command->words[command->word_count++] = span_of(auth->username);
    command->words[command->word_count++] = (struct span){secret->text, secret->len};
}
