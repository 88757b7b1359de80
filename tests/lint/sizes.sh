#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sizes.sh: no source of more than 500 lines, unless sizes.allow names it with a reason. (Functions: clang-tidy.)
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

limit=500
allow=tests/lint/sizes.allow
mapfile -t sources < <(files 'agent/*.[ch]' 'tests/*.[ch]' '*.py' '*.sh'; scripts 'sh|python')
some ${#sources[@]}
bad=0
for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$limit" ]; then
        grep -qE "^$file [^ ]" "$allow" && continue
        say "$file: $lines lines, more than $limit, and no reason in $allow"
        bad=1
    elif grep -qE "^$file( |\$)" "$allow"; then
        say "$file: has $lines lines now; take it out of $allow"
        bad=1
    fi
done
exit $bad
