/* SPDX-License-Identifier: Apache-2.0 */
/* The lines "slave0:ip=...,port=...,state=online,..." of a primary's INFO replication. */
#ifndef MUSTER_WIRE_INFO_REPLICAS_H
#define MUSTER_WIRE_INFO_REPLICAS_H

#include "base/text.h"
#include "core/world.h"

/*
 * Fills `online` with the first REPLICAS_TOLD_MAX that are online. A line that is not understood tells of
 * nobody: who is not known to be online is not handed anything over.
 */
void info_replicas_parse(struct span info, struct server *server);

#endif
