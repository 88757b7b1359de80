/* SPDX-License-Identifier: Apache-2.0 */
/* Each guard of the planner prevents a harm that the simulator can show without it. */
#include "prove.h"

int main(void)
{
    return prove_guards();
}
