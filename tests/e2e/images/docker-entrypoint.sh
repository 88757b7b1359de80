#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the official images' entry point of this name does: options or a file alone are the server's, root becomes the
# server's user, and files are not for others to read.
set -e

case ${1-} in
    -* | *.conf) set -- "$SERVER" "$@" ;;
esac
if [ "${1-}" = "$SERVER" ] && [ "$(id -u)" = 0 ]; then
    user=${SERVER%-server}
    find . \! -user "$user" -exec chown "$user" '{}' +
    exec setpriv --reuid="$user" --regid="$user" --clear-groups -- "$0" "$@"
fi
if [ "$(umask)" = 0022 ]; then
    umask 0077
fi
exec "$@"
