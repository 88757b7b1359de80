/* SPDX-License-Identifier: Apache-2.0 */
/* Pods as a scripted API server lists and watches them; `fd` is its connection. */
#ifndef MUSTER_TESTS_IO_PODS_H
#define MUSTER_TESTS_IO_PODS_H

/* A page of a list with up to two pods; NULL leaves one out. `next` is the continuation, "" = none. */
void io_answer_list(int fd, int version, const char *next, const char *a, const char *b);

/* A line of an open watch: "ADDED", "MODIFIED" or "DELETED", and a bookmark. */
void io_send_event(int fd, const char *type, const char *name, int version);
void io_send_bookmark(int fd, int version);

#endif
