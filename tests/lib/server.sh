#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# server.sh NAME: prints the absolute path of an executable called redis-server or valkey-server; fetches it when it is
# used for the first time. NAME is one of
#   redis-7.0 redis-8.0 valkey-8.1 valkey-9 redis-8-sid
# server.sh --cli: the path of redis-cli. server.sh --list: each name with its version.
# server.sh clang-format-14: the one version that tests/lint formats by. server.sh promtool: tests the chart's alerts.
#
# Each is a package of the Debian release that has this version, unpacked below the cache with all its libraries and run
# through its own loader; nothing is installed and no service starts. The path is a script that becomes the server by
# exec, so that the server keeps the pid (and is PID 1 of a namespace when the script was).

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/lib/debian.sh
. "$repo/tests/lib/debian.sh"

# name, Debian suite, package, program, what its --version must match
table='
redis-7.0        bookworm  redis-server     redis-server     v=7\.0\.
redis-8.0        trixie    redis-server     redis-server     v=8\.0\.
valkey-8.1       trixie    valkey-server    valkey-server    v=8\.1\.
valkey-9         sid       valkey-server    valkey-server    v=9\.
redis-8-sid      sid       redis-server     redis-server     v=8\.
clang-format-14  bookworm  clang-format-14  clang-format-14  version 14\.
promtool         bookworm  prometheus       promtool         version 2\.
'

names() {
    awk 'NF { print $1 }' <<<"$table"
}

# version_line PROGRAM
version_line() {
    "$1" --version 2>&1 | head -n 1
}

# fetch NAME SUITE PACKAGE PROGRAM MATCH: leaves bin/PROGRAM in the cache. A version that does not match is not kept.
fetch() {
    local name=$1 suite=$2 package=$3 program=$4 match=$5 dir=$cache/debian/$1 line
    [ ! -x "$dir/bin/$program" ] || return 0
    say "fetching $package of Debian $suite for $name"
    mkdir -p "$cache/debian"
    debian_unpack "$suite" "$package" "$dir.new"
    debian_wrap "$dir.new" "$program" "$dir.new/bin/$program"
    line=$(version_line "$dir.new/bin/$program") || die "$program of Debian $suite does not run here: $line"
    if ! grep -qE -- "$match" <<<"$line"; then
        rm -rf "$dir.new"
        die "Debian $suite's $package is now '$line', which is not what '$name' stands for;" \
            "name the release that still has it in tests/lib/server.sh"
    fi
    rm -rf "$dir"
    mv "$dir.new" "$dir"
    # the wrappers name the final place
    debian_wrap "$dir" "$program" "$dir/bin/$program"
    [ ! -x "$dir/usr/bin/redis-cli" ] || debian_wrap "$dir" redis-cli "$dir/bin/redis-cli"
    say "$name is $line"
}

# own SUITE PACKAGE PROGRAM MATCH: the machine's own program when it is the very version.
own() {
    local path
    path=$(command -v "$1" 2>/dev/null) || return 1
    version_line "$path" | grep -qE -- "$2" || return 1
    readlink -f -- "$(dirname -- "$path")" | sed "s,\$,/$1,"
}

# provide NAME: prints the path.
provide() {
    local row name suite package program match
    row=$(awk -v name="$1" '$1 == name' <<<"$table")
    [ -n "$row" ] || die "unknown server '$1'; the names are: $(names | paste -sd' ')"
    read -r name suite package program match <<<"$row"
    own "$program" "$match" && return 0
    if [ ! -x "$cache/debian/$name/bin/$program" ]; then
        with_lock "$name" fetch "$name" "$suite" "$package" "$program" "$match"
    fi
    printf '%s\n' "$cache/debian/$name/bin/$program"
}

# cli: any redis-cli of version 7 or newer will do.
cli() {
    own redis-cli 'redis-cli ([789]|[1-9][0-9])\.' && return 0
    provide redis-7.0 >/dev/null
    if [ ! -x "$cache/debian/redis-7.0/bin/redis-cli" ]; then
        fetch redis-7.0 bookworm redis-server redis-server 'v=7\.0\.'
    fi
    printf '%s\n' "$cache/debian/redis-7.0/bin/redis-cli"
}

case ${1-} in
    '' | -h | --help) sed -n '3,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
    --cli) cli ;;
    --list)
        for name in $(names); do
            path=$(provide "$name")
            printf '%-16s %s\n' "$name" "$(version_line "$path")"
        done
        ;;
    *) provide "$1" ;;
esac
