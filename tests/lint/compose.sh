#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compose.sh: the compose file as compose reads it, and the image's init with stand-ins. No Docker engine is needed.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

tests/chart/compose.sh --file docker/docker-compose.yml config --format json |
    python3 tests/chart/test_compose.py
python3 tests/chart/test_init.py
