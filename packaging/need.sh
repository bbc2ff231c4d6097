#!/usr/bin/env bash
# Installs a command or package that pip cannot install.
#
#   packaging/need.sh COMMAND PACKAGE WHY      installs PACKAGE if COMMAND is missing
#   packaging/need.sh --package PACKAGE WHY    always installs PACKAGE
#
# Installs with apt-get, as root. Otherwise prints what to install and fails.
set -euo pipefail

if [ "$1" = --package ]; then
    shift
    command=
else
    command=$1
    shift
    if command -v "$command" >/dev/null; then exit 0; fi
fi
package=$1
why=$2

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing $package. $why" >&2
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2
    if [ -z "$command" ] || command -v "$command" >/dev/null; then exit 0; fi
fi
echo "setup: ${command:-$package} is missing. $why Install it (Debian, Ubuntu: sudo apt-get install $package) and try again." >&2
exit 1
