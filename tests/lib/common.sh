# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the scripts of this project share: sourced, never run.
# Sets: repo (the work tree), cache (what was fetched or built once, outside git).

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${MUSTER_CACHE:-$repo/.cache}
mkdir -p "$cache"
cache=$(cd -- "$cache" && pwd -P)

# say TEXT...: one line for the person; standard output stays free for results.
say() {
    printf '%s\n' "$*" >&2
}

# die TEXT...: one sentence, then the end.
die() {
    say "${0##*/}: $*"
    exit 1
}

# as_root COMMAND...: the command as root, through sudo when there is need.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must run '$*' as root, and there is no sudo here: run this script as root, or install sudo"
    fi
}

# os_is ID: whether this machine is an ID (debian, ubuntu) or derived from one.
os_is() {
    (
        # shellcheck source=/dev/null
        . /etc/os-release
        case " ${ID-} ${ID_LIKE-} " in
            *" $1 "*) exit 0 ;;
        esac
        exit 1
    )
}

# with_lock NAME COMMAND...: one process at a time does the same work; the others wait, then find it done.
with_lock() {
    local name=$1
    shift
    (
        flock -w 1800 9 || die "waited 30 minutes for another process that holds $cache/$name.lock"
        "$@"
    ) 9>"$cache/$name.lock"
}

# retry TIMES COMMAND...: for what can fail by another's lock or a dropped connection.
retry() {
    local left=$1 pause=2
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep "$pause"
        pause=$((pause * 2))
    done
}
