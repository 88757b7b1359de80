/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses behind names, read again every few seconds whatever their TTL, without blocking and
 * without threads (libevent's evdns, never getaddrinfo).
 *
 * An answer only ever adds knowledge (FAULTS D11): NXDOMAIN, SERVFAIL, an empty answer and silence
 * change nothing, and an answer with fewer addresses than are wanted takes none away. One family is
 * used for good: the one that was asked for, else IPv4 if the name has it.
 *
 * Every read has an evdns_base of its own, made from resolv.conf as it is then: libevent probes name
 * servers that once failed with names that are not ours.
 */
#ifndef MUSTER_IO_HOST_NAMES_H
#define MUSTER_IO_HOST_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/view.h"
#include "io/loop.h"

struct host_names;

/* How often names are read, with jitter, and while a list is not complete yet. */
#define HOST_NAMES_PERIOD_MS 3000
#define HOST_NAMES_HURRY_MS 500
/* libevent 2.1 keeps 32 addresses of an answer, and asks by UDP only: 512 bytes hold about 30. */
#define HOST_NAMES_ADDRESSES_MAX 32

struct host_names_config {
    const char *const *names; /* DNS names or literal addresses; copied */
    size_t count;
    size_t wanted;      /* addresses that each name should have; more may come */
    const char *server; /* "" = resolv.conf's; else ADDRESS or ADDRESS:PORT; copied */
    const char *prefer; /* a literal address of the family to use, or ""; copied */
    uint64_t seed;
    void (*on_change)(void *ctx); /* what is known changed, or was confirmed for the first time */
    void *ctx;
};

/* Starts reading. Owned by the caller; free before the loop. */
struct host_names *host_names_new(struct loop *loop, const struct host_names_config *config);
void host_names_free(struct host_names *names);

/* What is known of one name; pointers are valid until the loop runs again. */
struct host_name {
    const char (*addresses)[IP_SIZE]; /* canonical, sorted by their bytes */
    size_t count;
    size_t answered;     /* how many the last good answer had */
    bool twice;          /* the last two good answers were equal, and the last read was good */
    const char *problem; /* why the last read was not good; "" if it was */
};
struct host_name host_names_get(const struct host_names *names, size_t index);

/* Read every HOST_NAMES_HURRY_MS while this is on. */
void host_names_hurry(struct host_names *names, bool on);

#endif
