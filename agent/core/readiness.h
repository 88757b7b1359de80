/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness (DESIGN 5.5): strict once after each start of the server, afterwards only the own pod's
 * facts, so that a failing cluster never empties the Service. In a rolling update the strict test also
 * wants every replica of the shard that answers in sync: the next pod to go may be its primary.
 *
 * Before the cluster is formed a virgin server is ready as soon as it answers: under OrderedReady
 * the next pod comes only then.
 */
#ifndef MUSTER_CORE_READINESS_H
#define MUSTER_CORE_READINESS_H

#include <stdbool.h>

#include "core/world.h"

#define READINESS_REASON_SIZE 160
/* A replica without its primary for this long serves data that is too old. */
#define READINESS_LINK_DOWN_MS 30000

struct readiness {
    bool ready;
    char reason[READINESS_REASON_SIZE]; /* a sentence in either case */
    char run_id[RUN_ID_SIZE];           /* of the server process that passed the strict test */
    int64_t link_down_ms;               /* since when its link is seen down; 0 = it is not */
};

/* After the agent's restart: the server that runs now passed before. Its run id is taken then. */
void readiness_resume(struct readiness *readiness);

/* Takes the world of this turn into account. */
void readiness_step(struct readiness *readiness, const struct world *world);

#endif
