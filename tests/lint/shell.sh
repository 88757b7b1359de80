#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shell.sh: shellcheck over every shell script, with and without the ending.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

mapfile -t sources < <({ files '*.sh'; scripts 'sh( |$)'; } | sort -u)
some ${#sources[@]}
# 2317: run.sh calls its tiers by name; 2015, 2016: said of what is meant
shellcheck --exclude=SC2317,SC2015,SC2016 --external-sources --source-path="$repo" "${sources[@]}"
