/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the Lease `<statefulset>-muster`: core/lease.h decides, this sends.
 */
#ifndef MUSTER_IO_LEASE_CLIENT_H
#define MUSTER_IO_LEASE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "io/kube_client.h"
#include "io/loop.h"

struct lease_client;

struct lease_client_config {
    const char *pod_name; /* the identity written as holder; copied */
    int duration_s;
    uint64_t seed;
    void (*on_change)(void *ctx); /* the holder changed, or may_act became true or false */
    void *ctx;
};

/* Idle until it is given a name. Owned by the caller; free before client and loop. */
struct lease_client *lease_client_new(struct loop *loop, struct kube_client *client,
                                      const struct lease_client_config *config);
void lease_client_free(struct lease_client *lease);

/* The Lease's object; the same name again is nothing, another one starts anew. "" stops. */
void lease_client_follow(struct lease_client *lease, const char *name);

/* lease_set_crowd(). */
void lease_client_set_crowd(struct lease_client *lease, size_t count);

/* lease_may_act() now, on CLOCK_BOOTTIME. The fence: ask in the callback that sends. */
bool lease_client_may_act(const struct lease_client *lease);

/* The holder as last seen, "" when unknown or expired. Valid until the next turn of the loop. */
const char *lease_client_holder(const struct lease_client *lease);

/*
 * Gives the Lease back; `on_done` once it is free, was not ours, or the API did not answer within
 * 2 s. Nothing is sent in the Lease's name from here on.
 */
void lease_client_release(struct lease_client *lease, loop_fn on_done, void *ctx);

#endif
