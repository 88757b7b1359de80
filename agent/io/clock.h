/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only reader of time.
 *
 * Everything in the world is stamped with clock_mono_ms(). The Lease uses clock_boot_ms(), which
 * goes on while the machine is suspended. Wall-clock time is for the Lease's text, Events and logs.
 */
#ifndef MUSTER_IO_CLOCK_H
#define MUSTER_IO_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds; never 0, which means "never" in the world. */
int64_t clock_mono_ms(void);

/* CLOCK_BOOTTIME in milliseconds; never 0. */
int64_t clock_boot_ms(void);

/* CLOCK_REALTIME in milliseconds since 1970; it may jump. */
int64_t clock_unix_ms(void);

/* Bytes of the kernel's generator, for uids and seeds. Aborts where there is none. */
uint64_t clock_entropy(void);

#endif
