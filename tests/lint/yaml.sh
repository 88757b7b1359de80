#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# yaml.sh: yamllint over every YAML file but the templates of charts, and the presets as JSON.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

mapfile -t sources < <(files '*.yml' '*.yaml' .yamllint .clang-tidy .clang-format ':!charts/*/templates/*')
some ${#sources[@]}
yamllint --strict --config-file .yamllint "${sources[@]}"
python3 -m json.tool CMakePresets.json /dev/null
