/* SPDX-License-Identifier: Apache-2.0 */
/* The short calls of the kubelet: probes, preStop. Each returns the exit code. */
#ifndef MUSTER_HOOK_PROBE_H
#define MUSTER_HOOK_PROBE_H

#include <stdint.h>

/*
 * 0 if the agent says that the server is ready. A silent agent changes nothing: then the last
 * verdict, from the file `ready` beside the socket, and whether the server still accepts. Ends
 * within two seconds, the usual timeoutSeconds.
 */
int probe_ready(const char *socket_path);

/*
 * 0 if the lock is held: by the server, or by the gate in front of it. The agent is not asked, so
 * that no fault of it can kill a server.
 */
int probe_alive(const char *socket_path);

/*
 * 0 if the agent answers at its socket, whatever it says: the agent's own probe. It needs neither
 * server, API nor network, for a native sidecar holds up all that starts after it.
 */
int probe_agent(const char *socket_path);

/*
 * Returns 0 when the agent lets the server stop, or was silent for so long: then the server stops
 * as it would have without. 1 when the agent refuses.
 */
int probe_drain(const char *socket_path, int64_t silent_seconds);

#endif
