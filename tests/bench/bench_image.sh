#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench_image.sh: how large the agent's image is.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"

if ! docker version >/dev/null 2>&1; then
    printf 'no Docker engine runs here: the image is not measured\n'
    exit 0
fi
exec "$repo/tests/chart/image.sh" muster:bench
