/* SPDX-License-Identifier: Apache-2.0 */
/* The line "server" of a case, and the words and values of all lines. */
#ifndef MUSTER_TESTS_PLAN_CASE_SERVER_H
#define MUSTER_TESTS_PLAN_CASE_SERVER_H

#include "base/text.h"
#include "core/world.h"

/* The value of key=value among the words; false if there is none. */
bool case_value(struct span words, const char *key, struct span *ret_value);
bool case_number(struct span words, const char *key, int64_t *ret_number);

/* One of the words is this one. */
bool case_word(struct span words, const char *wanted);

/* "@N". */
bool case_id(struct span text, struct node_id *ret_id);

/* Puts the view in place of the server's, with what CLUSTER INFO would say of it. */
void case_server_view(struct server *server, const struct view *view);

/* What the line "server" says; false if a word is not understood. */
bool case_server_apply(struct server *server, int64_t now_ms, struct span words);

#endif
