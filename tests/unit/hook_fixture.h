/* SPDX-License-Identifier: Apache-2.0 */
/* A hook server in a directory of its own, and sockets that play the hook. For one test at a time. */
#ifndef MUSTER_TESTS_UNIT_HOOK_FIXTURE_H
#define MUSTER_TESTS_UNIT_HOOK_FIXTURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "io/hook_server.h"
#include "io/loop.h"

#define HOOK_FIXTURE_ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HOOK_FIXTURE_START \
    "muster-hook/1 start\nnodes-conf=present\nmyself=" HOOK_FIXTURE_ID " master 3 5461 -\n\n"

struct hook_fixture {
    char dir[64];
    char socket_path[96];
    struct loop *loop;
    struct hook_server *server;
    int starts;              /* calls of on_start */
    int gone;                /* calls of on_server_gone */
    enum hook_verdict drain; /* what on_drain answers, "so says the owner" */
    int persons;             /* calls of on_person, of which the last one ordered this */
    enum hook_verb person_verb;
    struct hook_person person;
    enum hook_verdict person_says; /* what it answers at once */
};

/* cmocka's; teardown also checks that nothing but the three known files was left behind. */
int hook_fixture_setup(void **state);
int hook_fixture_teardown(void **state);

struct hook_server_config hook_fixture_config(struct hook_fixture *f);
void hook_fixture_open(struct hook_fixture *f);

/* A connection; one on which the text was sent, and the server had time to read it. */
int hook_fixture_dial(const struct hook_fixture *f);
int hook_fixture_ask(const struct hook_fixture *f, const char *text);

/* What came so far must begin with `text`; `closed` tells whether the other side has closed. */
void hook_fixture_hears(int fd, const char *text, bool closed);
void hook_fixture_hears_and_close(int fd, const char *text);

/* Answers the start that waits. */
void hook_fixture_answer(struct hook_fixture *f, enum hook_verdict verdict, const char *reason);

/* Takes server.lock as the hook does, until the descriptor is closed. */
int hook_fixture_lock(const struct hook_fixture *f);

#endif
