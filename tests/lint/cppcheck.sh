#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cppcheck.sh: cppcheck's warnings and portability checks over the agent and the simulator.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

work=${MUSTER_BUILD_ROOT:-$repo/build}/cppcheck
mkdir -p "$work"
cppcheck --version >&2
mapfile -t sources < <(files 'agent/*.c' 'tests/sim/*.c' 'tests/bench/*.c')
some ${#sources[@]}
# OutOfMemory: base/alloc.h aborts, which cppcheck's library of GNU functions does not know
# internalAstError: cppcheck 2.10 cannot read a compound literal inside ?: and says so
# resourceLeak: it does not know __attribute__((cleanup)), which closes every descriptor here
# readdirCalled: there is one thread
# legacyUninitvar: it takes a designated initialiser that names its own struct for a use
# nullPointer in accept4: both addresses may be NULL (accept(2)), which its library does not know
# normalCheckLevelMaxBranches: newer versions say that they did not look at every branch, which is no finding
suppressed=(normalCheckLevelMaxBranches resourceLeak readdirCalled legacyUninitvar "nullPointer:agent/io/*_server.c" missingIncludeSystem unmatchedSuppression internalAstError nullPointerOutOfMemory
    ctunullpointerOutOfMemory nullPointerArithmeticOutOfMemory)
cppcheck --quiet --std=c11 --language=c --library=posix --library=gnu --enable=warning,portability --inline-suppr \
    --error-exitcode=1 "${suppressed[@]/#/--suppress=}" --cppcheck-build-dir="$work" -j "$jobs" \
    --include=tests/lint/cppcheck.h -Iagent -Itests "${sources[@]}"
