#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh [DIR]: which lines of the parsers the fuzz targets reach, by a replay of tests/fuzz/corpus and, if DIR is
# given, of DIR/TARGET (cluster_nodes, ...), where a campaign kept what it found. A line for each source file.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$repo"

build=${MUSTER_BUILD_ROOT:-$repo/build}/fuzz-cov
found=${1-}
mkdir -p "$build"

# target, the sources that it is there for
targets='
cluster_nodes  agent/wire/cluster_nodes.c
redis_info     agent/wire/redis_info.c
nodes_conf     agent/wire/nodes_conf.c
kube_watch     agent/wire/line_split.c agent/wire/kube_*.c agent/wire/json_util.c agent/wire/record_json.c
config_yaml    agent/wire/config_*.c
hook_proto     agent/wire/hook_proto.c
'

cmake --preset fuzz -B "$build" -DMUSTER_SANITIZE=fuzzer-no-link \
    -DCMAKE_C_FLAGS='-O1 -fprofile-instr-generate -fcoverage-mapping' >"$build.log" 2>&1 ||
    die "cmake fails; see $build.log"
printf '%-14s %-34s %6s %6s %6s\n' target file lines hit '%'
while read -r target sources; do
    [ -n "$target" ] || continue
    cmake --build "$build" -j "${MUSTER_JOBS:-2}" --target "fuzz_$target" >"$build.log" 2>&1 ||
        die "fuzz_$target does not build; see $build.log"
    inputs=("tests/fuzz/corpus/$target")
    [ ! -d "$found/$target" ] || inputs+=("$found/$target")
    profile=$build/$target.profraw
    LLVM_PROFILE_FILE=$profile "$build/fuzz/fuzz_$target" -runs=0 "${inputs[@]}" >"$build/$target.log" 2>&1 ||
        die "fuzz_$target fails on its corpus; see $build/$target.log"
    llvm-profdata merge -o "$profile.data" "$profile"
    # shellcheck disable=SC2086 # the patterns are to be expanded
    llvm-cov export -summary-only -instr-profile "$profile.data" "$build/fuzz/fuzz_$target" $sources |
        python3 -c '
import json, os, sys
for file in json.load(sys.stdin)["data"][0]["files"]:
    lines = file["summary"]["lines"]
    print("%-14s %-34s %6d %6d %6.1f" % (sys.argv[1], os.path.relpath(file["filename"]), lines["count"],
                                         lines["covered"], lines["percent"]))' "$target"
done <<<"$targets"
