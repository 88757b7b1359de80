/* SPDX-License-Identifier: Apache-2.0 */
#include "io/clock.h"

#include <assert.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"

static int64_t clock_read_ms(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    assert(rc == 0); /* these clocks are there since Linux 2.6.39 */
    (void)rc;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
    return clock_read_ms(CLOCK_MONOTONIC) + 1;
}

int64_t clock_boot_ms(void)
{
    return clock_read_ms(CLOCK_BOOTTIME) + 1;
}

int64_t clock_unix_ms(void)
{
    return clock_read_ms(CLOCK_REALTIME);
}

uint64_t clock_entropy(void)
{
    uint64_t bytes = 0;
    /* Up to 256 bytes come in one piece; interruption is only possible before the pool is ready. */
    ssize_t got;
    do
        got = getrandom(&bytes, sizeof bytes, 0);
    while (got < 0);
    assert(got == (ssize_t)sizeof bytes);
    return bytes;
}
