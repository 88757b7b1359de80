#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [CAMPAIGN...]: what takes too long for every change, each campaign once; `tests/run.sh soak` runs them all.
#   formation_kill_points   the agent that forms dies after its first, second, ... command; another finishes each time
#   rolls                   ten rolling restarts in a row under load, on each server: 0 lost, and how long clients waited
#   hand_overs              a thousand under load, on Redis 7.0 and Valkey 9, 4 shards at the same time: 0 lost, and how long likewise
#   placing                 a hundred random faults in clusters of 6, 9 and 12 pods under load: in the end primaries are spread, 0 lost by
#                           what was planned, no order too early; an hour
#   schedules               50,000 of the simulator, none of which may break an invariant
#
# A campaign prints what it saw and writes it to tests/soak/results/NAME.json, which is committed with the release that
# it speaks of. SOAK_SEED (1), SOAK_JOBS (2 labs at a time). Exit 0 only if every campaign passed.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$repo"

jobs=${MUSTER_JOBS:-2}
build=${MUSTER_BUILD_ROOT:-$repo/build}/dev
if [ -z "${MUSTER_BUILD-}" ]; then
    cmake --preset dev -B "$build" -DMUSTER_WERROR=ON
    cmake --build "$build" -j "$jobs"
    export MUSTER_BUILD=$build
fi

if [ $# = 0 ]; then
    for file in tests/soak/*.py; do
        set -- "$@" "$(basename "$file" .py)"
    done
fi
failed=()
for campaign; do
    [ -x "tests/soak/$campaign.py" ] || die "there is no tests/soak/$campaign.py"
    python3 "tests/soak/$campaign.py" --seed "${SOAK_SEED:-1}" --jobs "${SOAK_JOBS:-2}" || failed+=("$campaign")
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
