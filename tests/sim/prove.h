/* SPDX-License-Identifier: Apache-2.0 */
/* Each guard of the planner is what prevents its harm: without it, some schedule must break a rule. */
#ifndef MUSTER_SIM_PROVE_H
#define MUSTER_SIM_PROVE_H

/* The exit code: 0 if every harm was shown, and none appears with all guards on. */
int prove_guards(void);

#endif
