/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for servers that have none (discovery: dns): `node-0` to `node-<size - 1>`, each a seat.
 *
 * Before there is a record, the seats are the addresses in their order. From then on a seat belongs
 * to the node id that the record has for it, wherever its server answers, so that new addresses for
 * all (a compose project after `down` and `up`) change nothing. A server under an unknown id gets a
 * free seat only when all other seats are taken by servers that were heard: then, and only then, the
 * id that had the seat cannot be one of those not heard yet. It is what the ordinal of a StatefulSet
 * pod is with Kubernetes.
 */
#ifndef MUSTER_CORE_HOST_SEATS_H
#define MUSTER_CORE_HOST_SEATS_H

#include <stddef.h>

#include "base/arena.h"
#include "core/record.h"
#include "core/view.h"

/* A server that is looked for at an address. */
struct host_place {
    char ip[IP_SIZE];
    struct node_id id; /* what last answered there; "" = nothing yet */
};

/*
 * The seat of each place; those without one get the numbers from `size` on. `places` are sorted by
 * address; `record` may be NULL.
 */
void host_seats(const struct record *record, size_t size, const struct host_place *places,
                size_t count, struct arena *arena, int *ret_seats);

/* "node-3" */
void host_seat_name(int seat, char dst[POD_NAME_SIZE]);

#endif
