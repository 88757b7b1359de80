/* SPDX-License-Identifier: Apache-2.0 */
/* What cppcheck must know of headers that it is not shown. */
#ifndef MUSTER_LINT_CPPCHECK_H
#define MUSTER_LINT_CPPCHECK_H

#define _GNU_SOURCE
#define MUSTER_VERSION ""
#define MUSTER_COMMIT ""
#define MUSTER_TESTS_DIR ""
#define cJSON_ArrayForEach(item, array) \
    for (item = (array) ? (array)->child : NULL; item; item = item->next)

#endif
