/* SPDX-License-Identifier: Apache-2.0 */
/* The model of Redis Cluster alone: scripted commands, and what FACTS says must follow. */
#ifndef MUSTER_SIM_SELFTEST_H
#define MUSTER_SIM_SELFTEST_H

/* The exit code; prints one line for each fact. */
int selftest_run(void);

/* The model's figures, one "server name value" per line, for tests/integration/test_model_vs_real.py. */
int selftest_figures(void);

#endif
