#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# format.sh [--fix] [FILE...]: C as .clang-format has it, by clang-format 14 on every machine.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

mode=(--dry-run -Werror)
if [ "${1-}" = --fix ]; then
    mode=(-i)
    shift
fi
clang_format=$(tests/lib/server.sh clang-format-14)
"$clang_format" --version >&2
mapfile -t sources < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else c_files; fi)
some ${#sources[@]}
printf '%s\0' "${sources[@]}" | xargs -0 -n 16 -P "$jobs" "$clang_format" --style=file "${mode[@]}"
