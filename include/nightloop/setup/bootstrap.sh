#!/usr/bin/env bash
# Make the environment: find or fetch uv, create .venv with Python 3.11, hand over to the steps of nightloop.setup.
set -euo pipefail
cd "$(dirname "$0")/../../.."

uv_version=0.13.8
python_version=3.11

say() { printf '%s\n' "$*"; }

find_uv() {
    if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
        command -v uv
    elif [ -x .cache/uv/bin/uv ]; then
        printf '%s\n' "$PWD/.cache/uv/bin/uv"
    fi
}

UV=$(find_uv)
if [ -z "$UV" ]; then
    say "setup: uv is not on the PATH; installing $uv_version into .cache/uv"
    python3 -m venv .cache/uv.partial 2>/dev/null || {
        say "setup: python3 with its venv module is missing; install uv $uv_version or python3-venv and run this again" >&2
        exit 1
    }
    .cache/uv.partial/bin/python -m pip install --quiet "uv==$uv_version"
    rm -rf .cache/uv && mv .cache/uv.partial .cache/uv
    UV=$(find_uv)
fi
export UV

if ! .venv/bin/python -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" 2>/dev/null; then
    say "setup: creating .venv with Python $python_version"
    "$UV" venv --quiet --seed --clear --python "$python_version" .venv
fi
PYTHONPATH=include exec .venv/bin/python -m nightloop.setup "$@"
