/* SPDX-License-Identifier: Apache-2.0 */
/* The line "server" of a case: what one server says, whatever the views say. */
#ifndef MUSTER_TESTS_PLAN_CASE_SERVER_H
#define MUSTER_TESTS_PLAN_CASE_SERVER_H

#include "base/text.h"
#include "core/world.h"

/* Puts the view in place of the server's, with what CLUSTER INFO would say of it. */
void case_server_view(struct server *server, const struct view *view);

/* What the line "server" says; false if a word is not understood. */
bool case_server_apply(struct server *server, int64_t now_ms, struct span words);

/* "guard-off NAME". */
bool case_server_guard(struct world *world, struct span words);

#endif
