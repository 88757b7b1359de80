/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden texts: tests/unit/golden/NAME holds what is expected. With UPDATE_GOLDEN=1 in the
 * environment the files are written instead; the diff is then what a reviewer reads.
 */
#ifndef MUSTER_TESTS_LIB_GOLDEN_H
#define MUSTER_TESTS_LIB_GOLDEN_H

/* Fails the cmocka test, showing both texts, unless `text` equals the file. A line break is added
 * to a text that does not end with one. */
void golden_assert_text(const char *name, const char *text);

#endif
