#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# layers.sh: the arrow base <- core <- wire <- io <- cli <- agent, read from the #include lines; and which layer may name
# which third-party library.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

mapfile -t sources < <(files 'agent/*.[ch]')
some ${#sources[@]}
# a header of wire that shows a third-party type is wire's own
private=$(grep -lE '^#include <(cjson/|cJSON|yaml)' agent/wire/*.h 2>/dev/null | sed 's,^agent/,,' | paste -sd' ') || true
awk -v private="$private" '
    BEGIN {
        sees["base"] = "base"
        sees["core"] = "base core"
        sees["wire"] = "base core wire"
        sees["io"] = "base core wire io"
        sees["cli"] = "base core wire io cli"
        sees["agent"] = "base core wire io cli agent"
        sees["hook"] = "base hook"
        # besides C and POSIX
        third["wire"] = "^(cjson/cJSON|cJSON|yaml)[.]h$"
        third["io"] = "^(curl|hiredis|event2|openssl)/"
        libraries = "^(cjson/|cJSON|yaml|curl/|hiredis/|event2/|event[.]h|openssl/)"
        # stdlib for qsort: purity.sh sees every other use of it
        pure = "^(assert|inttypes|limits|stdalign|stdarg|stdbool|stddef|stdint|stdlib|string)[.]h$"
        # base is plain C and POSIX
        effects = "^(netdb|pthread|threads|sys/socket|netinet/.*|arpa/.*)[.]h$"
    }
    function wrong(text) {
        printf "%s:%d: %s\n", FILENAME, FNR, text
        bad = 1
    }
    function has(list, word) {
        return index(" " list " ", " " word " ") > 0
    }
    FNR == 1 {
        n = split(FILENAME, part, "/")
        layer = n == 2 ? "agent" : part[2]
        if (!(layer in sees))
            wrong("the folder agent/" layer " is no layer")
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        target = quoted[2]
        if (target == "version.h") {
            if (layer == "base" || layer == "core")
                wrong(layer " may not know the version")
            next
        }
        if (layer != "wire" && has(private, target))
            wrong("no third-party type leaves wire: \"" target "\" shows one")
        if (layer == "hook" && target ~ /^wire\/(nodes_conf|hook_proto)[.]h$/)
            next
        folder = target ~ /\// ? substr(target, 1, index(target, "/") - 1) : "agent"
        if (!has(sees[layer], folder))
            wrong(layer " may not include \"" target "\"")
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        split($0, quoted, /[<>]/)
        target = quoted[2]
        if (target ~ libraries) {
            if (!(layer in third) || target !~ third[layer])
                wrong(layer " may not include <" target ">")
        } else if (layer == "core" && target !~ pure) {
            wrong("core is pure: <" target ">")
        } else if (layer == "base" && target ~ effects) {
            wrong("base knows no network and no thread: <" target ">")
        }
    }
    END { exit bad }
' "${sources[@]}"
