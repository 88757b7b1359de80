#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# purity.sh: what the planner's library needs from outside, read from its undefined symbols in a release build. A clock, a
# file, an environment variable, the heap or stdio would each show up here by name.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

build=${MUSTER_BUILD_ROOT:-$repo/build}/release
[ -f "$build/build.ninja" ] || cmake --preset release -B "$build" >&2
cmake --build "$build" --target muster_core muster_base -j "$jobs" >&2
core=$build/agent/libmuster_core.a
base=$build/agent/libmuster_base.a

# of libc; the __*_chk are FORTIFY's and bsearch, qsort call back nothing but core
libc='memcpy memcmp memset memmove memchr strlen strcmp strncmp strnlen strchr strrchr qsort bsearch'
libc="$libc __memcpy_chk __memset_chk __memmove_chk __strlen_chk __assert_fail __stack_chk_fail"
# base has effects too (log, xmalloc): only these modules of it are for core
base_modules='arena buf err rng text'

allowed=$(printf '%s\n' "$libc" | tr ' ' '\n')
for module in $base_modules; do
    allowed+=$'\n'$(nm --defined-only "$base" 2>/dev/null |
        awk -v member="$module.c.o:" '/:$/ { inside = $1 == member } inside && $2 ~ /^[TDRB]$/ { print $3 }')
done
own=$(nm --defined-only "$core" | awk '$2 ~ /^[TDRBC]$/ { print $3 }')
[ -n "$own" ] || die "libmuster_core.a defines nothing"

# libgcc, for what the processor cannot be assumed to have
compiler='^__(popcount|clz|ctz|parity|bswap|u?div|u?mod)[a-z]+[0-9]$'

wrong=$(nm -u "$core" | awk '$1 == "U" { print $2 }' | sort -u | grep -vE "$compiler" |
    grep -vxF -f <(printf '%s\n' "$allowed" "$own" | grep .) || true)
if [ -n "$wrong" ]; then
    say "core is pure, and may not use:"
    printf '%s\n' "$wrong" | while read -r symbol; do
        printf '  %s (%s)\n' "$symbol" "$(nm -A -u "$core" | awk -v s="$symbol" '$NF == s { split($1, p, ":"); print p[2] }' | paste -sd' ')"
    done
    exit 1
fi
say "$(nm -u "$core" | awk '$1 == "U" { print $2 }' | sort -u | grep -cvxF -f <(printf '%s\n' "$own")) symbols from outside"
