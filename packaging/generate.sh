#!/usr/bin/env bash
# Generates client/holdfast/v1 from proto/; and from the registry of kinds, which reads v1, client/holdfast/values/views.pyi and
# client/holdfast/nouns.py.
# With --check, changes nothing and fails if the committed code is out of date.
#
#   packaging/generate.sh [--check]
#
# PATH must contain the virtual environment's bin/, where protoc finds the plugins of mypy-protobuf.
set -euo pipefail
cd "$(dirname "$0")/.."

committed=client/holdfast/v1
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

python -m grpc_tools.protoc -I proto --python_out="$fresh" --grpc_python_out="$fresh" --mypy_out="quiet:$fresh" \
    --mypy_grpc_out="quiet:$fresh" proto/holdfast/v1/*.proto
printf '"""Generated from proto/holdfast/v1 by `make generate`. Do not edit."""\n' >"$fresh/holdfast/v1/__init__.py"

# Compares and replaces whole directories, to find and remove code whose .proto was removed.
if [ "${1-}" = --check ]; then
    if ! diff --recursive --brief --exclude=__pycache__ "$fresh/holdfast/v1" "$committed"; then
        echo "The generated code in $committed is out of date. Run: make generate" >&2
        exit 1
    fi
else
    rm -rf "$committed"
    mv "$fresh/holdfast/v1" "$committed"
fi

# The view classes' stub, then the nouns, whose annotations name the view classes.
for made in values/views.pyi nouns.py; do
    name=$(basename "${made%.*}")
    PYTHONPATH=client python "packaging/make_$name.py" >"$fresh/$name"
    if [ "${1-}" != --check ]; then
        mv "$fresh/$name" "client/holdfast/$made"
    elif ! diff "client/holdfast/$made" "$fresh/$name"; then
        echo "client/holdfast/$made is out of date. Run: make generate" >&2
        exit 1
    fi
done
