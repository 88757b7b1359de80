/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the exposition that is made of a server's INFO. Only metrics_text.c includes this.
 */
#ifndef MUSTER_WIRE_METRICS_INFO_H
#define MUSTER_WIRE_METRICS_INFO_H

#include "base/buf.h"
#include "base/text.h"

/* "# HELP" and "# TYPE" of a metric; `help` holds no newline and no backslash. */
void metrics_put_family(struct buf *out, const char *name, const char *type, const char *help);

/* A label's value, escaped: \\, \" and \n; what is not printable ASCII becomes '?'. */
void metrics_put_label(struct buf *out, struct span value);

/* The figures of `info` that redis_exporter would show; what is absent or malformed is left out. */
void metrics_put_info(struct buf *out, struct span info);

#endif
