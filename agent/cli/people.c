/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/people.h"

#include <poll.h>
#include <string.h>

#include "base/text.h"
#include "cli/hook_ask.h"
#include "core/pause.h"
#include "io/clock.h"

#define WAIT_PERIOD_MS 250
/* The agent gives an order up before (core/handover.h); an agent that is restarted knows of none. */
#define WAIT_MAX_MS 30000

#define TIME_WORDS "90s, 30m, 12h or 7d, at most 30d"

void failover_help(FILE *to)
{
    (void)fputs(
        "usage: muster failover POD [--wait] [--socket PATH]\n\n"
        "The server of this pod, a replica, becomes its shard's primary (CLUSTER FAILOVER: no\n"
        "write is lost, they wait for a moment). It is refused, with the reason, while it could\n"
        "do harm: not in sync, an election too short a time ago, a pod that stops. The same\n"
        "again is no second order. With policy.placement enforce the role may move again later,\n"
        "where that is better: `muster pause` first. Ask the agent that leads: `muster plan`\n"
        "says who that is.\n\n"
        "--wait  until it is done (exit 0), or is given up with the reason (exit 1); without\n"
        "        it exit 0 says that it was begun\n",
        to);
}

void pause_help(FILE *to)
{
    (void)fputs(
        "usage: muster pause [--reason TEXT] [--for TIME] [--socket PATH]\n\n"
        "Muster does what keeps the cluster alive, and nothing else, until `muster resume`:\n",
        to);
    for (enum pause_work work = 0; work < WORK_COUNT; work++)
        (void)fprintf(to, "  %-8s %s\n", pause_is_for(work) ? "stopped" : "goes on",
                      pause_work_text(work));
    (void)fputs("\n--reason TEXT  is shown wherever the pause is\n"
                "--for TIME     ends it by itself: " TIME_WORDS "\n"
                "Paused already, it gets this reason and end. Ask the agent that leads.\n",
                to);
}

void resume_help(FILE *to)
{
    (void)fputs("usage: muster resume [--socket PATH]\n\n"
                "Ends a `muster pause`. Ask the agent that leads.\n",
                to);
}

/* Each once; a reason of which a part would be lost is not taken. */
static bool read_reason(struct hook_person *person, const char *value)
{
    return !person->reason[0] && value[0] && TEXT_COPY(person->reason, span_of(value));
}

/* "90s" */
static bool read_time(const char *text, int64_t *ret_ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    struct span number = span_of(text);
    int64_t count;
    if (number.len < 2)
        return false;
    char unit = number.ptr[--number.len];
    if (!text_to_i64(number, 1, PAUSE_FOR_MS_MAX / 1000, &count))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (units[i].unit == unit)
            *ret_ms = count * units[i].ms;
    return strchr("smhd", unit) && *ret_ms <= PAUSE_FOR_MS_MAX;
}

/* What all three commands may say, and one of them may. */
struct words {
    const char *command;
    const char *socket;
    bool help;
    bool wait;
    bool takes_pod;
    bool takes_pause;
    struct hook_request request;
};

/* The option that takes a value; false if it is none, or the value is not one. */
static bool read_option(struct words *w, const char *option, const char *value)
{
    struct hook_person *person = &w->request.person;
    if (strcmp(option, "--socket") == 0) {
        w->socket = value;
        return true;
    }
    if (w->takes_pause && strcmp(option, "--reason") == 0)
        return read_reason(person, value);
    return w->takes_pause && strcmp(option, "--for") == 0 && !person->for_ms &&
           read_time(value, &person->for_ms);
}

static bool read_word(struct words *w, const char *word)
{
    struct hook_person *person = &w->request.person;
    if (strcmp(word, "--help") == 0)
        return w->help = true;
    if (w->takes_pod && strcmp(word, "--wait") == 0)
        return w->wait = true;
    return w->takes_pod && word[0] != '-' && !person->pod[0] &&
           TEXT_COPY(person->pod, span_of(word));
}

/* What is wrong with an option that is known. */
static const char *what_it_takes(const char *option)
{
    if (strcmp(option, "--for") == 0)
        return " Once, a time: " TIME_WORDS;
    if (strcmp(option, "--reason") == 0)
        return " Once, a text of at most 95 bytes";
    return "";
}

_Static_assert(RECORD_PAUSE_REASON_SIZE == 96, "as what_it_takes() says");

static bool read_words(const struct cli *cli, int argc, char **argv, struct words *w)
{
    for (int i = 0; i < argc; i++) {
        if (read_word(w, argv[i]))
            continue;
        if (i + 1 < argc && read_option(w, argv[i], argv[i + 1])) {
            i++;
            continue;
        }
        (void)fprintf(cli->err, "muster %s: what is '%s'?%s\n", w->command, argv[i],
                      w->takes_pause ? what_it_takes(argv[i]) : "");
        return false;
    }
    return true;
}

/*
 * It was begun: asks what becomes of it, until that is told. An agent that does not answer just now, or is
 * busy with another order, may do so later.
 */
static int failover_wait(const struct cli *cli, const struct words *w)
{
    struct hook_request look = w->request;
    struct err err = {0};
    look.person.look = true;
    for (int64_t until_ms = clock_mono_ms() + WAIT_MAX_MS; clock_mono_ms() < until_ms;) {
        auto_hook_answer struct hook_answer answer = {0};
        (void)poll(NULL, 0, WAIT_PERIOD_MS);
        err = (struct err){0};
        if (hook_ask(cli, w->socket, &look, &answer, &err) < 0)
            continue;
        if (answer.verdict == HOOK_OK) {
            (void)fprintf(cli->out, "%s\n", answer.reason);
            return CLI_OK;
        }
        if (answer.verdict == HOOK_NO) {
            (void)fprintf(cli->err, "muster failover: %s\n", answer.reason);
            return CLI_FAILED;
        }
    }
    (void)fprintf(cli->err, "muster failover: it was begun, and its end is not known: %s\n",
                  err.code != E_OK ? err.msg : "the agent has not told it");
    return CLI_FAILED;
}

int failover_run(const struct cli *cli, int argc, char **argv)
{
    struct words w = {.command = "failover", .takes_pod = true, .request = {.verb = HOOK_FAILOVER}};
    if (!read_words(cli, argc, argv, &w))
        return CLI_USAGE;
    if (w.help || !w.request.person.pod[0]) {
        failover_help(w.help ? cli->out : cli->err);
        return w.help ? CLI_OK : CLI_USAGE;
    }
    if (!w.wait)
        return hook_tell(cli, w.command, w.socket, &w.request);
    auto_hook_answer struct hook_answer answer = {0};
    struct err err = {0};
    int r = hook_ask(cli, w.socket, &w.request, &answer, &err);
    if (r == 0 && answer.verdict == HOOK_OK)
        return failover_wait(cli, &w);
    (void)fprintf(cli->err, "muster failover: %s\n", r < 0 ? err.msg : answer.reason);
    return CLI_FAILED;
}

int pause_run(const struct cli *cli, int argc, char **argv)
{
    struct words w = {.command = "pause", .takes_pause = true, .request = {.verb = HOOK_PAUSE}};
    if (!read_words(cli, argc, argv, &w))
        return CLI_USAGE;
    if (!w.help)
        return hook_tell(cli, w.command, w.socket, &w.request);
    pause_help(cli->out);
    return CLI_OK;
}

int resume_run(const struct cli *cli, int argc, char **argv)
{
    struct words w = {.command = "resume", .request = {.verb = HOOK_RESUME}};
    if (!read_words(cli, argc, argv, &w))
        return CLI_USAGE;
    if (!w.help)
        return hook_tell(cli, w.command, w.socket, &w.request);
    resume_help(cli->out);
    return CLI_OK;
}
