#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [TIER...]: runs tests and says what passed. Without a TIER: the tier 'default', lint to fuzz, but what is CI's.
#   lint         format, layers, purity, sizes, words, clang-tidy, cppcheck, shell, YAML, Python, compose, and run.sh itself
#   beside       lint in the background, in what unit, plan and sim leave of the processors; joined before all others
#   unit         tests/unit by gcc, with sanitizers; coverage of agent/core and agent/wire
#   plan sim     the planner's cases; the simulator's seeds
#   integration  tests/integration: real servers; a promise that holds on several is tried on one
#   versions     and on the others (on_servers, SERVERS=rest): CI's
#   clang        unit by clang, and its static analyzer: CI's
#   tools        what the other tests stand on, against real servers: CI's
#   fuzz         each target for FUZZ_SECONDS (10; 60 in CI)
#   bench        figures, from the release build
#   e2e soak     the chart's checks and tests/e2e/run.sh; tests/soak/run.sh: not part of the default
# run.sh --self-test: shows that a failing, a missing and an unbuildable test each make run.sh fail.
#
# Environment: MUSTER_JOBS (2), MUSTER_BUILD_ROOT (build), FUZZ_SECONDS, COVERAGE_LINES (90), INTEGRATION_JOBS (4),
# SIM_SCHEDULES=N (the tier sim is N schedules and nothing else; without it 400 and its tests),
# MUSTER_NO_SETUP=1 (install nothing). Logs are in build/logs. Exit: 0 only if something ran and nothing failed.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$repo"
set +e

jobs=${MUSTER_JOBS:-2}
root=${MUSTER_BUILD_ROOT:-$repo/build}
logs=$root/logs
fuzz_seconds=${FUZZ_SECONDS:-10}
coverage_lines=${COVERAGE_LINES:-90}
integration_jobs=${INTEGRATION_JOBS:-4} # they mostly wait
servers=(redis-7.0 redis-8.0 valkey-8.1 valkey-9)
passed=0
failed=0
failures=()
export MUSTER_JOBS=$jobs MUSTER_BUILD_ROOT=$root
mkdir -p "$logs"

# result STATUS NAME SECONDS [LOG]: one line, the counters, and the log's tail when it failed.
result() {
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        printf 'ok %s (%s s)\n' "$2" "$3"
        return 0
    fi
    failed=$((failed + 1))
    failures+=("$2")
    printf 'FAILED %s (%s s)\n' "$2" "$3"
    if [ -n "${4-}" ]; then
        # a build says its errors last, Python's unittest what failed; else there is the end of the log
        { sed -n '/^errors:$/,$p' "$4" | grep . || sed -n -E '/^={70}$/,$p' "$4" | head -n 60 | grep . ||
            tail -n 40 "$4"; } | sed 's/^/    /'
        printf '    the whole log: %s\n' "${4#"$repo"/}"
    fi
    return 1
}

now() {
    local t=${EPOCHREALTIME/[.,]/}
    printf '%s' "$((t / 1000))"
}

# seconds_since MS
seconds_since() {
    local ms=$(($(now) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

log_of() {
    printf '%s/%s.log' "$logs" "${1//\//-}"
}

# step NAME COMMAND...: one test that is one command.
step() {
    local name=$1 log start status
    shift
    log=$(log_of "$name")
    start=$(now)
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    result "$status" "$name" "$(seconds_since "$start")" "$log"
}

# build_preset PRESET: the preset with warnings as errors.
build_preset() {
    local log=$root/$1/errors
    cmake --preset "$1" -B "$root/$1" -DMUSTER_WERROR=ON || return 1
    # all the errors of one run, and once more at the end, where they are seen
    cmake --build "$root/$1" -j "$jobs" -- -k 0 2>&1 | tee "$log"
    [ "${PIPESTATUS[0]}" = 0 ] && return 0
    printf '\nerrors:\n'
    grep -E '(error|warning|undefined reference|multiple definition)' "$log" | grep -vE '^[^ ]*(gcc|clang) ' | sort -u | head -n 30
    return 1
}

# built PRESET: builds it once in this run; a step of its own. Fails again, silently, when it failed before.
declare -A build_status=()
built() {
    if [ -z "${build_status[$1]-}" ]; then
        step "build/$1" build_preset "$1"
        build_status[$1]=$?
    fi
    return "${build_status[$1]}"
}

# ctests PRESET LABEL NAME: every ctest of the label, a line for each. None at all is a failure.
ctests() {
    local dir=$root/$1 label=$2 name=$3 log start status seen=0 bad=0 parallel=$jobs test seconds state
    built "$1" || return 1
    log=$(log_of "$name")
    start=$(now)
    # unit tests mostly wait, for time-outs and sockets
    [ "$label" != unit ] || parallel=$((2 * jobs))
    ctest --test-dir "$dir" -L "^$label\$" -j "$parallel" --output-on-failure --no-tests=error \
        --output-junit "$log.xml" >"$log" 2>&1 </dev/null
    status=$?
    while read -r test seconds state; do
        seen=$((seen + 1))
        if [ "$state" = run ]; then
            result 0 "$name/$test" "$seconds"
            continue
        fi
        bad=1
        awk -v test="$test" '
            /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / { show = $4 == test }
            /^[0-9]+% tests passed/ { show = 0 }
            show' "$log" >"$log.$test"
        result 1 "$name/$test" "$seconds" "$log.$test"
    done < <(sed -nE 's/.*<testcase name="([^"]*)".* time="([0-9]+[.]?[0-9]?[0-9]?).*" status="([^"]*)".*/\1 \2 \3/p' \
        "$log.xml" 2>/dev/null)
    # ctest's own word counts too: it knows what the report may not say
    if [ "$seen" = 0 ] || { [ "$status" != 0 ] && [ "$bad" = 0 ]; }; then
        result 1 "$name" "$(seconds_since "$start")" "$log"
    fi
}

tier_lint() {
    local check name
    for check in format layers sizes words shell yaml python purity cppcheck tidy; do
        step "lint/$check" "tests/lint/$check.sh"
    done
    for check in tests/lint/*.sh; do
        name=$(basename "$check" .sh)
        case $name in
            files | format | layers | sizes | words | shell | yaml | python | purity | cppcheck | tidy | analyze | chart) ;;
            *) step "lint/$name" "$check" ;;
        esac
    done
    step lint/self-test tests/run.sh --self-test
}

# What gcc does in unit, and what lint leaves out of .clang-tidy: minutes.
tier_clang() {
    ctests clang unit unit-clang
    step lint/analyze tests/lint/analyze.sh
}

# coverage: lines of core and wire that unit, plan and a few seeds of the simulator reach.
coverage() {
    find "$root/cov" -name '*.gcda' -delete
    ctest --test-dir "$root/cov" -L '^(unit|plan)$' -j $((2 * jobs)) --output-on-failure --no-tests=error || return 1
    if [ -x "$root/cov/bin/muster-sim" ]; then
        "$root/cov/bin/muster-sim" --seeds 30 || return 1
    fi
    gcovr --root "$repo" --filter "$repo/agent/core/" --filter "$repo/agent/wire/" \
        --exclude-unreachable-branches --print-summary --fail-under-line "$coverage_lines" "$root/cov"
}

# In the background, at the lowest priority; join_beside shows and counts the results. Not beside real servers, which
# have time-outs of their own.
beside_pid=
tier_beside() {
    # what takes the network, meanwhile; whether it worked is seen by the step that needs it
    [ "${MUSTER_NO_SETUP-}" = 1 ] || tests/lib/setup.sh servers "${servers[@]}" >"$logs/servers" 2>&1 </dev/null &
    (
        renice -n 19 -p "$BASHPID" >/dev/null 2>&1
        tier_lint
    ) >"$logs/beside" 2>&1 </dev/null &
    beside_pid=$!
}

join_beside() {
    [ -n "$beside_pid" ] || return 0
    wait "$beside_pid"
    beside_pid=
    cat "$logs/beside"
    passed=$((passed + $(grep -c '^ok ' "$logs/beside")))
    local name
    while read -r name; do
        failed=$((failed + 1))
        failures+=("$name")
    done < <(sed -n 's/^FAILED \([^ ]*\) .*/\1/p' "$logs/beside")
    # a tier that died says nothing
    grep -Eq '^(ok|FAILED) lint/self-test ' "$logs/beside" || result 1 lint 0 "$logs/beside"
}

tier_unit() {
    ctests dev unit unit
    built cov && step unit/coverage coverage && grep -h '^lines:' "$(log_of unit/coverage)"
}

tier_plan() {
    ctests dev plan plan
}

# As ctest runs them, but so many.
sim_schedules() {
    sim_program muster-sim --seeds "$SIM_SCHEDULES" --jobs "$jobs"
}

# Of ten schedules one scales: twice, and again in the middle (E1).
sim_scalings() {
    sim_program muster-sim --scaling --seeds $((SIM_SCHEDULES / 10)) --jobs "$jobs"
}

# The agent is killed after each fourth command of 3 -> 4 shards (after each one: test_sim_scale_kill 1 0, minutes).
sim_kills() {
    sim_program test_sim_scale_kill 4 0
}

# sim_program NAME ARGUMENT...
sim_program() {
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1 \
    UBSAN_OPTIONS=print_stacktrace=1 \
        "$root/dev/bin/$1" "${@:2}"
}

tier_sim() {
    if [ -z "${SIM_SCHEDULES-}" ]; then
        ctests dev sim sim
    elif built dev; then
        step "sim/$SIM_SCHEDULES-schedules" sim_schedules && grep -h '^schedules ' "$(log_of "sim/$SIM_SCHEDULES-schedules")"
        step sim/scalings sim_scalings && grep -h '^scalings ' "$(log_of sim/scalings)"
        step sim/kills sim_kills && grep -h 'killed after' "$(log_of sim/kills)"
    fi
}

# integration_one FILE
integration_one() {
    # those that start servers of their own at a port do so beside each other; their bus ports, 10000 above, must
    # stay below the range from which the kernel gives ports to connections (32768)
    MUSTER_TEST_PORT=$((17000 + 100 * ${2:-0})) MUSTER_BUILD=$root/dev python3 "$1"
}

# share_of TIER FILE: how many of the integration_jobs it takes; on several servers at once some take more.
share_of() {
    local share
    share=$(sed -n "s/^${1^^}_SHARE = \([1-4]\).*/\1/p" "$2")
    [ "${share:-1}" -le "$integration_jobs" ] || share=$integration_jobs
    printf '%s' "${share:-1}"
}

# integration_all TIER FILE...: integration_jobs at a time, each with a log and a result of its own: the first that fits
# into what is free, again and again. Not by name: those that load the machine, as the drains, would be at it together.
# In a subshell, so that `wait` knows of no other child.
integration_all() (
    tier=$1
    free=$integration_jobs
    number=0
    declare -A share=()  # of a file
    declare -A taken=()  # by a process
    shift
    # shellcheck disable=SC2207 # file names of ours
    waiting=($(printf '%s\n' "$@" | shuf --random-source=<(yes)))
    # shellcheck disable=SC2207 # who takes minutes begins, or the others wait for it in the end
    waiting=($(printf '%s\n' "${waiting[@]}" | grep -E "$long") $(printf '%s\n' "${waiting[@]}" | grep -Ev "$long"))
    for file in "${waiting[@]}"; do
        share[$file]=$(share_of "$tier" "$file")
    done
    while [ "${#waiting[@]}" -gt 0 ]; do
        started=
        for i in "${!waiting[@]}"; do
            file=${waiting[$i]}
            [ "${share[$file]}" -le "$free" ] || continue
            number=$((number + 1))
            log=$(log_of "$tier/$(basename "$file" .py)")
            (
                start=$(now)
                integration_one "$file" "$number" >"$log" 2>&1 </dev/null
                printf '%s %s\n' $? "$(seconds_since "$start")" >"$log.result"
            ) &
            taken[$!]=${share[$file]}
            free=$((free - ${share[$file]}))
            unset "waiting[$i]"
            started=yes
            break
        done
        [ -z "$started" ] || continue
        wait -n -p ended
        free=$((free + ${taken[$ended]}))
    done
    wait
)

# real_servers TIER FILE...
real_servers() {
    local tier=$1 file name log status seconds
    shift
    if [ "${MUSTER_NO_SETUP-}" != 1 ]; then
        step "$tier/servers" tests/lib/setup.sh servers "${servers[@]}" || return 1
    fi
    rm -f "$logs/$tier"-*.result
    integration_all "$tier" "$@"
    for file; do
        name=$tier/$(basename "$file" .py)
        log=$(log_of "$name")
        status=1 seconds=0
        [ ! -f "$log.result" ] || read -r status seconds <"$log.result"
        result "$status" "$name" "$seconds" "$log"
    done
}

# Tests that take minutes.
long='test_(scale|ghost|crash)\.py$'
# Tests of what the other tests stand on.
tools=(lab lab_pods load model_vs_real)
# Tests that are for `versions` alone: they load a processor for a minute.
late=(crash cut disk drain_doomed drain_lag drain_net frozen majority people place place_faults skew slow split survives)

tier_tools() {
    local files=("${tools[@]/#/tests/integration/test_}")
    built dev || return 1
    real_servers tools "${files[@]/%/.py}"
}

tier_integration() {
    local file name files=()
    built dev || return 1
    for file in tests/integration/test_*.py; do
        name=$(basename "${file#*/test_}" .py) # without test_
        [ -f "$file" ] && [[ " ${tools[*]} ${late[*]} " != *" $name "* ]] && files+=("$file")
    done
    [ "${#files[@]}" -gt 0 ] || nothing integration 'no tests/integration/test_*.py'
    real_servers integration "${files[@]}"
}

# A file of which nothing runs fails: tests/lib/muster_test.py.
tier_versions() {
    local file files=()
    built dev || return 1
    for file in tests/integration/test_*.py; do
        [ -f "$file" ] && grep -q '^ *@on_servers(' "$file" && files+=("$file")
    done
    [ "${#files[@]}" -gt 0 ] || nothing versions 'no tests/integration/test_*.py asks for it (on_servers)'
    SERVERS=rest real_servers versions "${files[@]}"
}

# fuzz_one TARGET
fuzz_one() {
    local name=${1##*/} corpus=tests/fuzz/corpus/${1##*/fuzz_} work=$root/fuzz/work/${1##*/}
    mkdir -p "$work" "$logs/fuzz"
    set -- "$1" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$logs/fuzz/$name-" "$work"
    [ ! -d "$corpus" ] || set -- "$@" "$corpus"
    ASAN_OPTIONS=detect_leaks=1 "$@"
}

# tier_fuzz: JOBS targets at a time.
tier_fuzz() {
    local target batch=() all=()
    built fuzz || return 1
    for target in "$root"/fuzz/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] && all+=("$target")
    done
    [ "${#all[@]}" -gt 0 ] || nothing fuzz 'no tests/fuzz/fuzz_*.c'
    for target in "${all[@]}"; do
        batch+=("$target")
        if [ "${#batch[@]}" = $((jobs + 1)) ]; then
            fuzz_batch "${batch[@]}"
            batch=()
        fi
    done
    [ "${#batch[@]}" = 0 ] || fuzz_batch "${batch[@]}"
}

fuzz_batch() {
    local target pids=() i=0 start
    start=$(now)
    for target; do
        fuzz_one "$target" >"$(log_of "fuzz/${target##*/}")" 2>&1 </dev/null &
        pids+=($!)
    done
    for target; do
        wait "${pids[$i]}"
        result $? "fuzz/${target##*/}" "$(seconds_since "$start")" "$(log_of "fuzz/${target##*/}")"
        i=$((i + 1))
    done
}

# tier_bench: the figures are the point, so they are shown.
tier_bench() {
    local bench name seen=0
    built release || return 1
    for bench in "$root"/release/bin/bench* tests/bench/*.py tests/bench/*.sh; do
        [ -x "$bench" ] && [ -f "$bench" ] || continue
        seen=$((seen + 1))
        name=bench/$(basename "$bench")
        MUSTER_BUILD=$root/release step "$name" "$bench" && sed 's/^/    /' "$(log_of "$name")"
    done
    [ "$seen" -gt 0 ] || nothing bench 'no tests/bench/*.c, *.py or *.sh'
}

# nothing TIER REASON: a tier without tests is a failure.
nothing() {
    printf '%s\n' "$2" >"$(log_of "$1/none")"
    result 1 "$1/none" 0 "$(log_of "$1/none")"
}

# script_tier TIER: e2e and soak bring a script of their own.
script_tier() {
    if [ ! -x "tests/$1/run.sh" ]; then
        nothing "$1" "there is no tests/$1/run.sh"
        return 1
    fi
    # the chart's checkers take minutes to build, as what they stand beside
    [ "$1" != e2e ] || step lint/chart tests/lint/chart.sh
    step "$1" "tests/$1/run.sh"
    local status=$?
    sed -n 's/^figure: /    /p' "$(log_of "$1")"
    return "$status"
}

setup_for() {
    [ "${MUSTER_NO_SETUP-}" = 1 ] && return 0
    step setup tests/lib/setup.sh "$@"
}

finish() {
    [ "${#failures[@]}" = 0 ] || printf 'failed: %s\n' "${failures[*]}"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$passed" -gt 0 ] && [ "$failed" = 0 ]
    exit
}

case ${1-} in
    -h | --help)
        sed -n '4,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --self-test) exec tests/lib/self-test.sh ;;
esac

tiers=()
for tier in "${@:-default}"; do
    case $tier in
        default) tiers+=(beside unit plan sim integration fuzz) ;;
        lint | beside | clang | tools | unit | plan | sim | integration | versions | fuzz | bench | e2e | soak) tiers+=("$tier") ;;
        *) die "unknown tier '$tier'; the tiers are: default lint beside clang tools unit plan sim integration versions fuzz bench e2e soak" ;;
    esac
done

setup_for test || finish
for tier in "${tiers[@]}"; do
    case $tier in
        unit | plan | sim) ;;
        *) join_beside ;;
    esac
    case $tier in
        e2e | soak) script_tier "$tier" ;;
        *) "tier_$tier" ;;
    esac
done
join_beside
finish
