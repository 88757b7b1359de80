/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of faults share: helpers, and the injectors of faults_pods.c and _people.c. */
#ifndef MUSTER_SIM_FAULT_KINDS_H
#define MUSTER_SIM_FAULT_KINDS_H

#include "core/gate.h"
#include "sim.h"

/* Detection, delays, and a second try (FACTS 0.3, 3). */
#define ELECTION_US(nt_ms) (SECONDS(20) + 6 * MS(nt_ms))

#define ALL_PODS ((1u << PODS_MAX) - 1)
#define THE_API (1u << HOST_API)

/* Hosts of `a` do not hear those of `b`, and the other way round. */
void fault_cut(struct sim *sim, uint32_t a, uint32_t b, int64_t duration_us);

/* Something is broken on purpose for so long. */
void fault_lasts(struct sim *sim, int64_t duration_us);

int fault_any_pod(struct sim *sim);
int fault_free_addr(struct sim *sim);        /* that nobody replicates from or greets; 0 = none */
int fault_leader_pod(const struct sim *sim); /* -1 if nobody leads */
bool fault_record_formed(const struct sim *sim);
bool fault_record_is_todays(const struct sim *sim); /* of this StatefulSet, not of an earlier one */
bool fault_api_troubled(const struct sim *sim);
bool fault_owner_is_gone(const struct sim *sim);

/* Each injects one fault; false if it is not possible now. */
bool fault_agent_crash(struct sim *sim);
bool fault_leader_crash(struct sim *sim);
bool fault_crash_at_send(struct sim *sim);
bool fault_agent_pause(struct sim *sim);
bool fault_leader_pause(struct sim *sim);
bool fault_server_crash(struct sim *sim);
bool fault_server_pause(struct sim *sim);
bool fault_pod_delete(struct sim *sim);
bool fault_pod_lost(struct sim *sim);
bool fault_pod_late(struct sim *sim);
bool fault_all_pods(struct sim *sim);
bool fault_volume_lost(struct sim *sim);
bool fault_addr_reuse(struct sim *sim);
bool fault_foreign_server(struct sim *sim);
bool fault_impostor(struct sim *sim);
bool fault_foreign_volume(struct sim *sim);
bool fault_everything_lost(struct sim *sim);
bool fault_cloned_volume(struct sim *sim);
bool fault_stranger_met(struct sim *sim);
bool fault_data_lost(struct sim *sim);
bool fault_data_lost_moved(struct sim *sim);
bool fault_volume_lost_in_place(struct sim *sim);
bool fault_primaries_lost(struct sim *sim);
bool fault_chain(struct sim *sim);
bool fault_api_down(struct sim *sim);
bool fault_primaries_lost_anyhow(struct sim *sim);
bool fault_opened_by_hand(struct sim *sim);
bool fault_unsynced_heir(struct sim *sim);
bool fault_pod_drain(struct sim *sim);
bool fault_back_and_forth(struct sim *sim);
bool fault_kept_away(struct sim *sim);
bool fault_node_lost(struct sim *sim);
bool fault_lagging_crash(struct sim *sim);
bool fault_unsynced_crash(struct sim *sim);
bool fault_copies_crossed(struct sim *sim);
bool fault_primaries_gone(struct sim *sim);
bool fault_primaries_cut_off(struct sim *sim);
bool fault_person_pauses(struct sim *sim);
bool fault_person_failover(struct sim *sim);
bool fault_scale(struct sim *sim);

/* A person says `muster takeover` to whoever leads, again and again for so long. */
void fault_person_takes_over(struct sim *sim, int64_t for_us);

#endif
