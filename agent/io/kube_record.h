/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record's ConfigMap as a list and the events after it tell: absent and unknown told apart, and
 * the last copy kept after a deletion, for it can be written back.
 */
#ifndef MUSTER_IO_KUBE_RECORD_H
#define MUSTER_IO_KUBE_RECORD_H

#include <stdbool.h>

#include "base/arena.h"
#include "core/lease.h"
#include "core/record.h"
#include "core/world.h"
#include "wire/kube_json.h"

struct kube_record {
    enum presence presence;
    bool listed;                         /* seen in the list under way */
    bool readable;                       /* the present one */
    bool ever;                           /* copy is one */
    struct record copy;                  /* the last that could be read */
    struct arena arena;                  /* of the copy; owned */
    char version[RESOURCE_VERSION_SIZE]; /* "" = absent or unknown */
    char problem[ERR_MSG_SIZE];          /* why the present one cannot be read */
};

void kube_record_init(struct kube_record *record);
void kube_record_deinit(struct kube_record *record);

/* Nothing is known any more, not even a copy. */
void kube_record_forget(struct kube_record *record);

/* A list begins, shows the object, is complete; an event shows or deletes it. */
void kube_record_begin(struct kube_record *record);
void kube_record_take(struct kube_record *record, const struct kube_config_map *map);
void kube_record_commit(struct kube_record *record);
void kube_record_lose(struct kube_record *record);

/*
 * True if an event with this resourceVersion tells of what was before our last write: a watch may lag
 * behind the answer to a PUT, and what is older must not take the place of what was just written.
 */
bool kube_record_is_before(const struct kube_record *record, const char *version);

/* What a successful write of ours made it. */
void kube_record_written(struct kube_record *record, const struct record *written,
                         const char *version);

/* NULL unless present and readable. */
const struct record *kube_record_present(const struct kube_record *record);

#endif
