/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives a primary that has no FUNCTIONs those of another one: they are each server's own, and without them
 * FCALL fails for keys that come to a new primary. Who has some, other ones too, keeps them as they are.
 */
#ifndef MUSTER_IO_FUNCTION_COPY_H
#define MUSTER_IO_FUNCTION_COPY_H

#include <stdbool.h>

#include "io/slot_link.h"

struct function_copy;

/*
 * Connects to both and begins. `config`: a link's, without callbacks. on_end comes once, and not from within
 * this: `why` is NULL if the destination has what it needs, else the sentence why it may not.
 * Owned by the caller; free before the peers.
 */
struct function_copy *function_copy_new(const struct slot_link_config *config,
                                        void (*on_end)(void *ctx, const char *why), void *ctx);

/* No callback comes after this; not to be called from it. Accepts NULL. */
void function_copy_free(struct function_copy *copy);

#endif
