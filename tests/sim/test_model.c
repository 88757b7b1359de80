/* SPDX-License-Identifier: Apache-2.0 */
/* The model of Redis Cluster does what FACTS measured. */
#include "selftest.h"

int main(void)
{
    return selftest_run();
}
