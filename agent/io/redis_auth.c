/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_auth.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define AUTH_RELOAD_MS 1000

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

bool redis_auth_reload(struct redis_auth *auth, int64_t now_ms)
{
    if (!auth->password_file[0] || (auth->read_ms && now_ms - auth->read_ms < AUTH_RELOAD_MS))
        return false;
    auth->read_ms = now_ms;
    auto_close int fd = open(auth->password_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[SECRET_MAX];
    ssize_t got = read(fd, text, sizeof text);
    size_t len = got > 0 ? (size_t)got : 0;
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    bool changed = len && (len != auth->password_len || memcmp(text, auth->password, len) != 0);
    if (changed) {
        explicit_bzero(auth->password, sizeof auth->password);
        memcpy(auth->password, text, len);
        auth->password_len = len;
    }
    explicit_bzero(text, sizeof text);
    return changed;
}

bool redis_auth_wanted(const struct redis_auth *auth)
{
    return auth->password_len > 0;
}
