#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh [--keep] [--server NAME]: from a fresh machine to a running cluster of six pods, in a few minutes.
# Installs what is missing (root or sudo), builds Muster, starts the lab, writes a key and reads it back.
#   --keep         leave the lab running at the end
#   --server NAME  redis-7.0 (default) redis-8.0 valkey-8.1 valkey-9

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"

keep=no
server=redis-7.0
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=yes ;;
        --server)
            [ $# -gt 1 ] || die "--server needs a name"
            server=$2
            shift
            ;;
        -h | --help)
            sed -n 's/^# \{0,1\}//; 4,7p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown option '$1'; there are --keep and --server NAME" ;;
    esac
    shift
done

if [ -t 1 ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else
    bold='' dim='' green='' red='' off=''
fi
log=$cache/demo.log
state=
began=$SECONDS
: >"$log"

# step TEXT COMMAND...: runs quietly; its time when it went well, the end of its output when not.
step() {
    local text=$1 start=$SECONDS
    shift
    printf '  %-44s' "$text"
    if "$@" >>"$log" 2>&1; then
        printf '%s%4d s%s\n' "$green" $((SECONDS - start)) "$off"
        return 0
    fi
    printf '%sfailed%s\n\n' "$red" "$off"
    tail -n 15 "$log" | sed 's/^/    /'
    die "'$text' failed; everything that was said is in $log"
}

# shown COMMAND-AS-TYPED COMMAND...: the command as a person would type it, then what it says.
shown() {
    printf '\n%s$ %s%s\n' "$dim" "$1" "$off"
    shift
    "$@"
}

lab() {
    as_root env "PATH=$PATH" "MUSTER_BUILD=$repo/build/release" "$repo/tests/lab/lab" --state "$state" "$@"
}

finish() {
    local code=$?
    if [ -n "$state" ] && [ -e "$state/control.sock" ]; then
        if [ "$keep" = yes ] && [ $code = 0 ]; then
            return
        fi
        lab down || true
    fi
    exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build() {
    cmake --preset release -S "$repo" && cmake --build "$repo/build/release" --target muster muster-hook
}

# healthy: `muster check` has nothing to say any more; it needs a moment after the formation.
healthy() {
    local left=60
    until lab muster muster-0 check; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.5
    done
}

# found KEY HOST: the value, asked of one pod; redirections are followed.
found() {
    "$redis_cli" -c -h "$2" get "$1"
}

printf '%sMuster%s: a Redis Cluster on Kubernetes without an operator, here in its own small Kubernetes\n\n' "$bold" "$off"
cd -- "$repo"
step 'setting up this machine' "$repo/tests/lib/setup.sh" build lab
step "fetching $server" "$repo/tests/lib/setup.sh" servers "$server"
step 'building Muster' build
redis_cli=$("$repo/tests/lib/server.sh" --cli 2>>"$log")
state=/tmp/muster-lab-demo-$$
step 'starting six pods in three zones' lab up --pods 6 --zones 3 --server "$server"
step 'waiting for a clean bill of health' healthy

shown 'muster status' lab muster muster-0 status

first=$(lab get pods muster-0 | sed -n 's/^ *"podIP": "\(.*\)".*/\1/p' | head -n 1)
last=$(lab get pods muster-5 | sed -n 's/^ *"podIP": "\(.*\)".*/\1/p' | head -n 1)
shown "redis-cli -c -h $first set greeting 'hello from pod 0'" \
    "$redis_cli" -c -h "$first" set greeting 'hello from pod 0'
shown "redis-cli -c -h $last get greeting" found greeting "$last"
[ "$(found greeting "$last")" = 'hello from pod 0' ] || die 'the key that was written is not there'

printf '\n%sThe cluster stands%s after %d s.\n' "$green$bold" "$off" $((SECONDS - began))
lab=tests/lab/lab
sudo=
[ "$(id -u)" = 0 ] || sudo='sudo '
cat <<END

${bold}What to try next${off}
  ${sudo}$lab status                  the pods as Kubernetes and the servers see them
  ${sudo}$lab delete muster-0         a pod goes; it comes back with a new address and rejoins
  ${sudo}$lab logs -f muster-0        what its agent decides, and why
  ${sudo}$lab muster muster-0 check   is every promise held?
  ${sudo}$lab load start              writes, every acknowledgement on record; then load report
  ${sudo}$lab --help                  kill, pause, partition, lose-node, api fault, roll, scale ...
END
if [ "$keep" = yes ]; then
    printf '\nThe lab keeps running in %s; %s%s down%s ends it.\n' "$state" "$bold" "$sudo$lab" "$off"
elif [ -t 0 ] && [ -t 1 ]; then
    read -r -p $'\nThe lab is running. Press Enter to end it. ' _ || true
else
    printf '\nEnding the lab now; with --keep it stays.\n'
fi
