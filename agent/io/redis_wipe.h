/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hiredis copies passwords into buffers of its own, and frees those as they are: with this, all its
 * memory is wiped before it is given back.
 */
#ifndef MUSTER_IO_REDIS_WIPE_H
#define MUSTER_IO_REDIS_WIPE_H

/* Before hiredis allocates anything; further calls do nothing. */
void redis_wipe_setup(void);

#endif
