/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples for the tests of wire: real answers, which the fuzzers start from too.
 */
#ifndef MUSTER_TESTS_UNIT_WIRE_SAMPLE_H
#define MUSTER_TESTS_UNIT_WIRE_SAMPLE_H

#include <stddef.h>

#include "base/text.h"

/* The file below tests/fuzz/corpus, followed by a NUL; owned by the caller. The test fails if there is none. */
char *wire_sample(const char *name, size_t *ret_len);

/*
 * Copies `text` with its `at`-th byte changed in the `kind`-th way: dropped, doubled, or replaced by
 * one of a few bytes that parsers trip over. `dst` has room for two more bytes. Returns the length;
 * there are WIRE_MUTATIONS kinds.
 */
#define WIRE_MUTATIONS 12
size_t wire_mutate(struct span text, size_t at, unsigned kind, char *dst);

/*
 * A copy in memory of exactly its length, so that AddressSanitizer sees a parser that reads further.
 * Its ptr is owned by the caller.
 */
struct span wire_exact(struct span text);

/* `text` with its first `what` replaced by `by`; owned by the caller. `what` must be there. */
char *wire_replace(const char *text, const char *what, const char *by);

#endif
