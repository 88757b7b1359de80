/* SPDX-License-Identifier: Apache-2.0 */
/* `muster-hook install DIR`: copies this program to where the server's container finds it. */
#ifndef MUSTER_HOOK_INSTALL_H
#define MUSTER_HOOK_INSTALL_H

/*
 * Puts DIR/muster-hook in place in one step, mode 0755, also over an older one that runs. Returns
 * the exit code.
 */
int install_run(const char *dir);

#endif
