#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# python.sh: every Python file compiles, and pyflakes finds no name that is unknown or unused.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

mapfile -t sources < <({ files '*.py'; scripts 'python'; } | sort -u)
if [ ${#sources[@]} -eq 0 ]; then
    say "no Python yet"
    exit 0
fi
some ${#sources[@]}
python3 - "${sources[@]}" <<'END'
import sys

for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as source:
        compile(source.read(), name, "exec")
END
pyflakes3 "${sources[@]}"
