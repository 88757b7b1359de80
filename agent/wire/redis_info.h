/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server says of itself: INFO, CLUSTER INFO and CONFIG GET -> struct server.
 *
 * Fields that are not known here are ignored, for every release adds some; known fields are taken
 * strictly: a value that is malformed rejects the whole reply with E_PROTO naming the field.
 */
#ifndef MUSTER_WIRE_REDIS_INFO_H
#define MUSTER_WIRE_REDIS_INFO_H

#include "base/err.h"
#include "base/text.h"
#include "core/world.h"

/* Sections of INFO that the caller relies on. */
enum redis_info_section {
    INFO_SERVER = 1 << 0,      /* kind, version, run_id, uptime_ms, cluster_enabled */
    INFO_REPLICATION = 1 << 1, /* primary, primary_*, link_up, offset, replid, online */
    INFO_KEYSPACE = 1 << 2,    /* keys: the sum over all databases; an empty section means 0 */
    INFO_MEMORY = 1 << 3,      /* memory_*; memory_max, else -1; refuses_full, near_limit */
    INFO_PERSISTENCE = 1 << 4, /* aof, aof_written, aof_rewriting, rdb_written */
};

/*
 * Fills the fields of the sections found in `info`; the other fields of *ret_server keep their
 * values. E_PROTO if a section in `required` is missing or lacks one of its fields: absent is not
 * zero. E_LIMIT above INFO_TEXT_MAX.
 *
 * Valkey says its version in valkey_version and its mode in server_mode (redis_version is frozen at
 * 7.2.4); with extended-redis-compatibility the mode is redis_mode again.
 */
must_check int redis_info_parse(struct span info, unsigned required, struct server *ret_server,
                                struct err *err);

/*
 * CLUSTER INFO: state_ok, slots_assigned, slots_ok, known_nodes, size, current_epoch, my_epoch. All
 * of them must be there (they are since 3.0). vote_requests and slot_jobs are 0 where the reply does
 * not name them: kinds of messages that were never sent are left out (CLUSTER INFO, Redis 7.0.15; FACTS
 * 13, M5), and only Redis 8.4 counts jobs.
 */
must_check int cluster_info_parse(struct span info, struct server *ret_server, struct err *err);

/*
 * One pair of CONFIG GET's flat array (RESP2): cluster-node-timeout, repl-diskless-sync-delay,
 * min-replicas-to-write, cluster-allow-replica-migration, cluster-replica-no-failover, cluster-announce-ip,
 * and of `save` and `shutdown-on-sigterm` what they make of SIGTERM: rdb_saves, rdb_at_end. Other keys are ignored.
 */
must_check int server_setting_parse(struct span key, struct span value, struct server *ret_server,
                                    struct err *err);

/* CLUSTER MYID. */
must_check int server_id_parse(struct span reply, struct server *ret_server, struct err *err);

/* "redis 7.0.15", "valkey 9.0.1": for people. Cut at `size`. */
void server_version_format(const struct server *server, char *dst, size_t size);

#endif
