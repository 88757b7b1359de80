# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # cache: common.sh
#
# Packages of any Debian release on this machine, without installing them: sourced after common.sh.
# apt runs with a configuration, lists and cache of its own under $cache/apt; the machine's /etc/apt is read (mirror,
# proxy, passwords of mirrors), never written. Signatures are checked against Debian's own keyring.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_mirror: the machine's own mirror where it is a Debian, else the public one.
debian_mirror() {
    local own=
    if [ -n "${MUSTER_DEBIAN_MIRROR-}" ]; then
        printf '%s\n' "$MUSTER_DEBIAN_MIRROR"
        return
    fi
    if os_is debian && ! os_is ubuntu; then
        # shellcheck disable=SC2016 # $(SITE) is for apt
        own=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
            sed -n '\,/debian/*$,{p;q;}')
    fi
    printf '%s\n' "${own:-http://deb.debian.org/debian}"
}

# debian_sources SUITE: the lines of a sources.list. Security updates and point releases come with the suite itself.
debian_sources() {
    local mirror
    mirror=$(debian_mirror)
    printf 'deb [signed-by=%s] %s %s main\n' "$debian_keyring" "$mirror" "$1"
    printf 'deb-src [signed-by=%s] %s %s main\n' "$debian_keyring" "$mirror" "$1"
}

# debian_configure SUITE: writes the private configuration and fetches the lists when they are missing or a day old.
debian_configure() {
    local suite=$1 root=$cache/apt/$1
    [ -r "$debian_keyring" ] || die "$debian_keyring is missing: install the package debian-archive-keyring"
    mkdir -p "$root/etc/apt.conf.d" "$root/etc/preferences.d" "$root/etc/sources.list.d" \
        "$root/state/lists/partial" "$root/cache/archives/partial" "$root/log"
    : >"$root/status"
    debian_sources "$suite" >"$root/etc/sources.list"
    {
        cat <<END
Dir::Etc "$root/etc";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::State "$root/state";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
Dir::Log "$root/log";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "3";
END
        apt-config dump | grep -E '^Acquire::(https?|Check-|ForceIPv|Proxy)' || true
    } >"$root/apt.conf"
    if [ -z "$(find "$root/state/lists" -maxdepth 1 -name '*_Packages*' -mmin -1440 2>/dev/null)" ]; then
        say "reading Debian $suite's package lists"
        # -o: an update that failed is an error, not a warning
        debian_apt "$suite" apt-get -qq -o APT::Update::Error-Mode=any update >&2 ||
            die "cannot read Debian $suite's package lists from $(debian_mirror) (MUSTER_DEBIAN_MIRROR names another mirror)"
        find "$root/state/lists" -maxdepth 1 -name '*_Packages*' -exec touch {} +
    fi
}

# debian_apt SUITE COMMAND...: an apt command under the private configuration of SUITE.
debian_apt() {
    local suite=$1
    shift
    APT_CONFIG=$cache/apt/$suite/apt.conf "$@"
}

# debian_unpack SUITE PACKAGE DIR: unpacks PACKAGE and every library that it needs, libc included, below DIR.
# Nothing is configured and no maintainer script runs.
debian_unpack() {
    local suite=$1 package=$2 dir=$3 work=$3.part wanted
    debian_configure "$suite"
    rm -rf "$work"
    mkdir -p "$work/debs" "$work/root/usr/lib" "$work/root/usr/lib64" "$work/root/usr/bin"
    # releases before and after the merge of /lib into /usr/lib unpack to the same places
    ln -s usr/lib "$work/root/lib"
    ln -s usr/lib64 "$work/root/lib64"
    # an empty status file: apt resolves the closure as if nothing were installed
    wanted=$(debian_apt "$suite" apt-get -qq --simulate install "$package" 2>/dev/null |
        awk -v tools="${package/-server/-tools}" -v package="$package" \
            '$1 == "Inst" && ($2 ~ /^lib/ || $2 == package || $2 == tools) {
                version = $3; sub(/^\(/, "", version); print $2 "=" version
            }')
    [ -n "$wanted" ] || die "Debian $suite has no package $package that can be installed"
    # shellcheck disable=SC2086 # one word for each package
    (cd "$work/debs" && debian_apt "$suite" apt-get -qq download $wanted >&2) ||
        die "cannot download $package of Debian $suite from $(debian_mirror)"
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x -f - -C "$work/root" --keep-directory-symlink --no-same-owner \
                --exclude=./usr/share --exclude=./etc --exclude=./var --exclude=./lib/systemd
    done
    rm -rf "$work/debs" "$dir"
    mv "$work/root" "$dir"
    rmdir "$work"
}

# debian_wrap DIR PROGRAM FILE: writes FILE, a script that becomes DIR's PROGRAM by exec, through DIR's own loader.
debian_wrap() {
    local dir=$1 program=$2 file=$3 loader libs
    libs=$(find "$dir/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' | head -n 1)
    # the file itself: the link in lib64 is absolute in Debian 12, and would lead to the machine's own loader
    loader=$(find "$libs" -maxdepth 1 -type f -name 'ld-linux*.so.*' -o -type f -name 'ld-2.*.so' | head -n 1)
    [ -x "$dir/usr/bin/$program" ] || die "no usr/bin/$program in $dir"
    if [ -z "$loader" ] || [ -z "$libs" ]; then
        die "no libc in $dir"
    fi
    mkdir -p "$(dirname -- "$file")"
    cat >"$file" <<END
#!/bin/sh
exec "$loader" --argv0 $program --library-path "$libs:$dir/usr/lib" "$dir/usr/bin/$program" "\$@"
END
    chmod 755 "$file"
}
