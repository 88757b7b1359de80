#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# certs.sh sign REQUEST CERT CA CAKEY EXTENSIONS DAYS DIGEST: signs a certificate as `openssl x509 -req` does. DAYS may be
# negative: the certificate expired so many days ago, which `x509 -days` refuses from OpenSSL 3.4 on.
# certs.sh ca NAME, certs.sh leaf NAME SUBJECT SAN DAYS DIGEST BITS: makes NAME.key and NAME.pem here, of an authority or
# signed by the authority `ca`.
set -eu

sign() {
    if [ "$6" -ge 0 ]; then
        openssl x509 -req -in "$1" -out "$2" -CA "$3" -CAkey "$4" -set_serial "0x$(openssl rand -hex 8)" -extfile "$5" -days "$6" "-$7"
        return
    fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    : >"$work/index"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index\nnew_certs_dir=%s\nrand_serial=yes\npolicy=p\n[p]\ncommonName=supplied\n' \
        "$work" "$work" >"$work/ca.cnf"
    end=$(date -u -d "$6 days" +%Y%m%d%H%M%SZ)
    start=$(date -u -d "$(($6 - 1)) days" +%Y%m%d%H%M%SZ)
    openssl ca -batch -notext -config "$work/ca.cnf" -in "$1" -out "$2" -cert "$3" -keyfile "$4" -extfile "$5" \
        -md "$7" -startdate "$start" -enddate "$end"
}

case $1 in
    sign)
        shift
        sign "$@"
        ;;
    ca)
        openssl req -x509 -newkey rsa:2048 -nodes -keyout "$2.key" -out "$2.pem" -days 1 -subj "/CN=$2" \
            -addext basicConstraints=critical,CA:TRUE
        ;;
    leaf)
        openssl req -newkey "rsa:$7" -nodes -keyout "$2.key" -out "$2.csr" -subj "/CN=$3"
        printf 'subjectAltName=%s\n' "$4" >"$2.ext"
        sign "$2.csr" "$2.pem" ca.pem ca.key "$2.ext" "$5" "$6"
        ;;
    *) exit 2 ;;
esac
