/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes Events: a decision, told where `kubectl describe` shows it.
 *
 * A convenience that must never cost: at most EVENT_QUEUE_MAX wait (the oldest are dropped), one is
 * in flight, EVENT_PERIOD_MS apart; without the right to create them it is said once and given up.
 */
#ifndef MUSTER_IO_EVENT_CLIENT_H
#define MUSTER_IO_EVENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "io/kube_client.h"
#include "io/loop.h"

struct event_client;

#define EVENT_QUEUE_MAX 32
#define EVENT_PERIOD_MS 200
#define EVENT_FINISH_MS 1000
#define EVENT_MESSAGE_SIZE 1024

/* Owned by the caller; free before client and loop. `pod_name` is the reporting instance; copied. */
struct event_client *event_client_new(struct loop *loop, struct kube_client *client,
                                      const char *pod_name);
void event_client_free(struct event_client *events);

/* What the Events are about: the StatefulSet. Copied; nothing is sent before it is known. */
void event_client_about(struct event_client *events, const char *set_name, const char *set_uid);

/* `reason` is CamelCase ("ClusterFormed"); `message` is cut at EVENT_MESSAGE_SIZE. Copied. */
void event_client_post(struct event_client *events, bool warning, const char *reason,
                       const char *message);

/*
 * `on_done` once all that was posted has been answered, none of it can be sent, or EVENT_FINISH_MS
 * are over: at once, if nothing is left. A second call changes nothing before that.
 */
void event_client_finish(struct event_client *events, loop_fn on_done, void *ctx);

#endif
