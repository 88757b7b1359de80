/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a case's line: "NAME word key=value". */
#ifndef MUSTER_TESTS_PLAN_CASE_WORDS_H
#define MUSTER_TESTS_PLAN_CASE_WORDS_H

#include "base/text.h"
#include "core/view.h"

/* The value of key=value among the words; false if there is none. */
bool case_value(struct span words, const char *key, struct span *ret_value);
bool case_number(struct span words, const char *key, int64_t *ret_number);

/* Copies the value: "-" empties `dst`, a missing key leaves it as it is. */
void case_copy(struct span words, const char *key, char *dst, size_t size);

/* flags=a,b as enum node_flag; "-" is none. False if there is no such key. */
bool case_flags(struct span words, uint32_t *ret_flags);

/* One of the words is this one. */
bool case_word(struct span words, const char *wanted);

/* Names of guards (enum guard), put beside those in *ret_guards; false if there is none. */
bool case_guards(struct span words, uint32_t *ret_guards);

/* "@N" is world_build_id(N). */
bool case_id(struct span text, struct node_id *ret_id);

#endif
