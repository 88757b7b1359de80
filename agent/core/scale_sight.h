/* SPDX-License-Identifier: Apache-2.0 */
/* What core/scale_see.c finds of the servers, and core/scale_slots.c of their slots. Internal to these. */
#ifndef MUSTER_CORE_SCALE_SIGHT_H
#define MUSTER_CORE_SCALE_SIGHT_H

#include "core/scale_see.h"

struct sight {
    const struct world *world;
    const struct facts *facts;
    struct arena *arena;
    struct target_pod *pods;
    size_t *follows; /* by pod: the pod of its primary, itself for a primary; NO_POD = not known */
    bool *ready;
    bool *read;
    unsigned *synced;
    bool *laden;
    bool *full;      /* by shard */
    size_t *leads;   /* likewise */
    uint16_t *shard; /* by pod that is a primary: its shard, or SCALE_NOBODY */
    size_t shard_count;
    uint16_t *owner;
    uint16_t *from;
    uint16_t *going;
    uint16_t *half;
    uint16_t *import;
    uint16_t *clean;
    struct slot_set *open;
    struct slot_set *cancel;
    struct slot_set *stuck;
    struct slot_set *away; /* of moves that are kept as they are */
    bool *kept;            /* by the record's moves */
    const char *waits;
    bool outdated;
    const char *odd;
};

/* Its own word, read lately, of a member; or NULL. */
const struct view *sight_view(const struct sight *s, size_t pod);

/*
 * The pod of the primary of the shard that this node is of now, by its own word; of a replica that is away, by
 * the others', who still say whom it followed. NO_POD if nobody knows.
 */
size_t sight_primary(const struct sight *s, const struct node_id *id);

/* What the record has on its way; once the shards are known. */
void sight_moves(struct sight *s);

/* Whose each slot is; NULL, or why nothing can be told. */
const char *sight_owners(struct sight *s);

/* What is half-moved, and what was seen of slots that are to move. */
void sight_open(struct sight *s);
void sight_looked(struct sight *s);

#endif
