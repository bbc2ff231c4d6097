#!/usr/bin/env bash
# Creates or updates the virtual environment, with the daemon, the client and the development tools.
#
#   packaging/setup-venv.sh PYTHON VENV EXTRAS
#
# Installs with pip. If Python lacks venv and this runs as root, installs the system's venv package first.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$1
venv=$2
extras=$3

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v "$python" >/dev/null; then
    packaging/need.sh "$python" python3 "Holdfast is written in Python."
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$python is $("$python" --version 2>&1); Holdfast needs 3.11 or newer. Use another one: make PYTHON=python3.12 …"
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    packaging/need.sh --package "python$version-venv" "Python's venv module creates the environment."
fi
if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
say "installing into $venv (some 200 MB the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint packaging/constraints.txt --editable ".[$extras]"
