#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# words.sh: names and calls that have no place here, each with the reason.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

bad=0

# refuse REASON REGEX [EXCEPT-REGEX] < files: EXCEPT is matched against file:line:text.
refuse() {
    local hits
    hits=$(xargs -d '\n' grep -HnIE -- "$2" | grep -vE -- "${3:-^\$}") || true
    [ -n "$hits" ] || return 0
    printf '%s\n' "$hits" | cut -c1-160
    say "^ $1"
    bad=1
}

mapfile -t agent < <(files 'agent/*.[ch]')
mapfile -t all < <(files ':!tests/fuzz/corpus/*' ':!LICENSE' ':!tests/lint/words.sh')
some ${#agent[@]}
some ${#all[@]}
in_agent() {
    printf '%s\n' "${agent[@]}"
}
in_all() {
    printf '%s\n' "${all[@]}"
}

# the names of Redis's settings and of functions in its source stay what they are
refuse 'primary and replica are the words; the old ones are only parsed, in wire' \
    '[Mm]aster|[Ss]lave|MASTER|SLAVE' '^agent/wire/|masterauth|masteruser|on the wire|cluster[A-Z][A-Za-z]+' < <(in_agent)
refuse 'time is read in io/clock.c only, so that the simulator owns it' \
    '\b(time|clock_gettime|gettimeofday|clock)\(' '^agent/io/clock\.c:|^agent/hook/|^[^:]*:[0-9]+: *(/?\*|//)' < <(in_agent)
refuse 'nothing resolves names: it would block, or start a thread' \
    '\b(getaddrinfo|gethostbyname|getnameinfo|res_query)\(' < <(in_agent)
refuse 'one thread' '\b(pthread_create|thrd_create)\(' < <(in_agent)
refuse 'memory comes from base/alloc.h, which aborts when there is none' \
    '[^_a-z](malloc|calloc|realloc|strdup|strndup|asprintf|vasprintf)\(' '^agent/base/alloc\.[ch]:|^[^:]*:[0-9]+: *(/?\*|//)' < <(in_agent)
refuse 'an unfinished mark is an issue, not a comment' '\b(TODO|FIXME|XXX)\b' < <(in_all)
refuse 'a path of one machine' '(^|[^a-z.$}])/work/' < <(in_all)
exit $bad
