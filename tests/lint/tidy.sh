#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tidy.sh [FILE...]: clang-tidy with .clang-tidy's checks over every source that the build knows, but those of the
# static analyzer, which take twenty times as long: analyze.sh, in the tier clang. TIDY_CHECKS adds to the checks.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

build=${MUSTER_BUILD_ROOT:-$repo/build}/tidy
cmake --preset tidy -B "$build" >&2
clang-tidy --version | sed -n 's/^ *\(.*version.*\)/\1/p' >&2
mapfile -t sources < <(
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
    else
        files 'agent/*.c' 'tests/*.c' ':!tests/fuzz/*'
    fi
)
some ${#sources[@]}
printf '%s\0' "${sources[@]}" |
    xargs -0 -n 1 -P "$jobs" clang-tidy -p "$build" --quiet --checks="${TIDY_CHECKS--clang-analyzer-*}" 2> >(grep -vE 'warnings? (generated|treated)' >&2)
