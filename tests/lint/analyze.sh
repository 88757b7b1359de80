#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# analyze.sh [FILE...]: clang's static analyzer, with .clang-tidy's choice of its checks; minutes.
TIDY_CHECKS='' exec "$(dirname -- "${BASH_SOURCE[0]}")/tidy.sh" "$@"
