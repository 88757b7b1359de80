# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which files the checks of this folder read: sourced by them. What git ignores is not read.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$repo"
# shellcheck disable=SC2034 # for those that source this
jobs=${MUSTER_JOBS:-2}

# files PATTERN...: the files of the work tree, new ones too, that match git's PATTERNs; one a line.
files() {
    git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

# c_files: every C source and header.
c_files() {
    files 'agent/*.[ch]' 'tests/*.[ch]'
}

# scripts REGEX: the files without an extension, and outside docs, whose first line names an interpreter that matches.
scripts() {
    local file line
    files | while read -r file; do
        case ${file##*/} in
            *.*) continue ;;
        esac
        IFS= read -r line <"$file" 2>/dev/null || true
        [[ $line =~ ^#!.*($1) ]] && printf '%s\n' "$file"
        true
    done 2>/dev/null
}

# count_of FILE...: for the closing line; no file to check is a failure, else a moved folder would pass for ever.
some() {
    [ "$1" -gt 0 ] || die "found nothing to check"
    say "$1 files"
}
