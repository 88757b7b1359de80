/* SPDX-License-Identifier: Apache-2.0 */
/* The model of Redis Cluster alone: scripted commands, and what FACTS says must follow. */
#ifndef MUSTER_SIM_SELFTEST_H
#define MUSTER_SIM_SELFTEST_H

/* The exit code; prints one line for each fact. */
int selftest_run(void);

#endif
