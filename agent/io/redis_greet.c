/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_greet.h"

#include <assert.h>

void redis_greet_begin(struct redis_greet *greet, struct redis_auth *auth, bool secure)
{
    (void)redis_auth_refresh(auth, false);
    *greet = (struct redis_greet){.auth = auth, .proving = !secure && redis_auth_count(auth)};
}

static void greet_say(struct peer_command *command, const char *const *words)
{
    for (command->word_count = 0; *words; words++)
        command->words[command->word_count++] = span_of(*words);
}

#define GREET_SAY(command, ...) greet_say((command), (const char *const[]){__VA_ARGS__, NULL})

size_t redis_greet_commands(struct redis_greet *greet, struct peer_command *ret_commands)
{
    size_t count = 0;
    if (greet->proving) {
        GREET_SAY(&ret_commands[count], "PING");
        return count + 1;
    }
    if (greet->secret < redis_auth_count(greet->auth))
        redis_auth_command(greet->auth, greet->secret, &ret_commands[count++]);
    GREET_SAY(&ret_commands[count], "CLIENT", "SETNAME", "muster");
    return count + 1;
}

/* Another password to try: the file's newest, then the one before it. */
static bool greet_next_secret(struct redis_greet *greet)
{
    if (!greet->reread) {
        greet->reread = true;
        if (redis_auth_refresh(greet->auth, true)) {
            greet->secret = 0;
            return true;
        }
    }
    return ++greet->secret < redis_auth_count(greet->auth);
}

static const char *greet_refusal(const struct redis_auth *auth)
{
    if (!auth->password_file[0])
        return "the server wants a password (redis.passwordFile)";
    switch (redis_auth_count(auth)) {
    case 0:
        return "the server wants a password, and redis.passwordFile has none";
    case 1:
        return auth->username[0] ? "the server refuses redis.username with the password of "
                                   "redis.passwordFile"
                                 : "the server refuses the password of redis.passwordFile";
    default:
        return "the server refuses the password of redis.passwordFile, and the one before it";
    }
}

/*
 * AUTH, and a name. The name is a courtesy: who may not give it is let in. A server without a
 * password lets everybody in, and says so (-ERR AUTH): there is nothing more to ask for.
 */
enum greet_verdict redis_greet_take(struct redis_greet *greet, const struct reply *replies,
                                    size_t count, const char **ret_why)
{
    assert(count >= 1 && count <= GREET_COMMANDS_MAX);
    if (greet->proving) {
        greet->proving = false; /* whatever the answer is, it is a reply of Redis */
        return GREET_MORE;
    }
    const struct reply *auth = &replies[0];
    const struct reply *name = &replies[count - 1];
    bool refused =
        count == 2 && auth->kind != REPLY_TEXT &&
        !(auth->kind == REPLY_ERROR && span_starts(auth->text, "ERR AUTH <password> called"));
    bool outside = name->kind == REPLY_ERROR && span_starts(name->text, "NOAUTH");
    if (!refused && !outside)
        return GREET_IN;
    if (greet_next_secret(greet))
        return GREET_MORE;
    *ret_why = greet_refusal(greet->auth);
    return GREET_REFUSED;
}
