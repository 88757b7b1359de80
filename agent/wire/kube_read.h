/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers behind kube_json.h, one file for each kind: parsed JSON -> struct. Included by wire's
 * own .c files only. Each fills a zeroed struct and leaves its error in the reader.
 */
#ifndef MUSTER_WIRE_KUBE_READ_H
#define MUSTER_WIRE_KUBE_READ_H

#include "wire/json_util.h"
#include "wire/kube_json.h"

void kube_read_meta(struct json_reader *reader, const cJSON *object, struct kube_meta *meta);
void kube_read_status(struct json_reader *reader, const cJSON *object, struct kube_status *status);

void kube_read_pod(struct json_reader *reader, const cJSON *object, struct kube_pod *pod);
void kube_read_pod_metadata(struct json_reader *reader, const cJSON *object, struct kube_pod *pod);
void kube_read_stateful_set(struct json_reader *reader, const cJSON *object,
                            struct kube_stateful_set *set);
void kube_read_lease(struct json_reader *reader, const cJSON *object, struct kube_lease *lease);
void kube_read_endpoint_slice(struct json_reader *reader, const cJSON *object,
                              struct kube_endpoint_slice *slice);
void kube_read_node(struct json_reader *reader, const cJSON *object, struct kube_node *node);
void kube_read_config_map(struct json_reader *reader, const cJSON *object,
                          struct kube_config_map *map);

/* The label topology.kubernetes.io/zone of a pod or node. */
void kube_read_zone(struct json_reader *reader, const cJSON *object, char *dst, size_t size);

/* What a value may hold: a label's value, a uid, a resourceVersion or a continue token. */
bool kube_is_label_value(struct span text);
bool kube_is_token(struct span text);

/* {"apiVersion":...,"kind":...,"metadata":{"namespace":...,"name":...[,"resourceVersion":...]} */
void kube_put_head(struct buf *buf, const char *api_version, enum kube_kind kind,
                   const char *namespace, const char *name, const char *resource_version);

#endif
