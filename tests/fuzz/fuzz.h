/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share.
 */
#ifndef MUSTER_TESTS_FUZZ_FUZZ_H
#define MUSTER_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold, in every build. */
#define FUZZ_REQUIRE(condition) \
    do {                        \
        if (!(condition))       \
            abort();            \
    } while (0)

/* libFuzzer's data lie in memory of exactly their size: a parser that reads further is seen. */
static inline struct span fuzz_span(const uint8_t *data, size_t size)
{
    return (struct span){(const char *)data, size};
}

#endif
