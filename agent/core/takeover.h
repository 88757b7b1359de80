/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most primaries are lost for good: nobody can be elected, and no rule mends it by itself (FAULTS
 * D12). A person may order it (`muster takeover`), and this says whether it can be obeyed. What must
 * never happen is a TAKEOVER of primaries that are only cut off (D13): they go on to serve, and two
 * own the same slots. So
 *
 *   most primaries have not answered for TAKEOVER_STUCK_MS, as the leader has seen it;
 *   no pod is left that could run one of them: it is gone by the API's word, has no address yet, waits at
 *   its gate, or runs another node. A pod that is there and silent may be one behind a partition: it must be
 *   deleted first, and Kubernetes deletes it once its node is known to be off;
 *   every server that answers was asked: none has a link to it, and all hold it for failing;
 *   nobody is taking its slots, nor those of another that is lost, already;
 *   all known replicas of its shard answer, and the one that has most takes over.
 *
 * One shard after the other, until a majority can elect again. Redis does the rest, but not for a
 * replica that had lost its primary for longer than cluster-replica-validity-factor allows: by the same
 * word and checks it is told to ask for the votes (FORCE), once nobody was elected for as long.
 */
#ifndef MUSTER_CORE_TAKEOVER_H
#define MUSTER_CORE_TAKEOVER_H

#include "core/facts.h"
#include "core/world.h"

#define TAKEOVER_REASON_SIZE 320
/* Longer than servers that just start need to meet, and than an election. */
#define TAKEOVER_STUCK_MS 45000
/* A person's word holds for as long: each order is judged anew. */
#define TAKEOVER_WORD_MS 60000
/* Who was not looked at for longer may have answered meanwhile. */
#define TAKEOVER_BLIND_MS WORLD_FRESH_MS
#define TAKEOVER_ANSWER_SIZE 512

struct takeover_verdict {
    bool judged;            /* else nothing is known of the rest */
    bool lost;              /* most primaries do not answer */
    bool part;              /* some do not */
    size_t heir;            /* this pod's server may take over now, while not most are lost by
                               votes; NO_POD = nobody's */
    struct node_id primary; /* from whom */
    char reason
        [TAKEOVER_REASON_SIZE]; /* what would be done, or what stands against it; "" = nothing is lost */
};

/* The world's leader judges. */
void takeover_judge(const struct world *world, const struct facts *facts,
                    struct takeover_verdict *ret_verdict);

/*
 * What a person is told who orders it; `said` is the turn's sentence. True if it can be obeyed, so that the
 * caller notes watch.asked_ms.
 */
bool takeover_answer(const struct world *world, const struct takeover_verdict *verdict,
                     const char *said, char ret_answer[TAKEOVER_ANSWER_SIZE]);

/* What is remembered from turn to turn: since when it is so, as far as it was judged. */
void takeover_note(struct takeover_watch *watch, const struct takeover_verdict *verdict,
                   int64_t now_ms);

#endif
