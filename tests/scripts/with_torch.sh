#!/usr/bin/env bash
# with_torch.sh FILE ...: runs a Python program with the python that has the pinned torch.
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"
python=$(torch_python)
if [ -z "$python" ]; then fail "no python has torch $(pinned_torch) (scripts/setup installs it)"; fi
DISSENT_SOURCE_DIR=$root PYTHONDONTWRITEBYTECODE=1 exec "$python" "$@"
