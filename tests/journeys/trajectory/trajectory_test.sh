#!/usr/bin/env bash
# trajectory_test.sh PROGRAM short|long [NAME...]: traces of trainings, repeated in PyTorch (run.py), in a temporary folder.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
program=$(realpath "${1:?usage: $0 PROGRAM short|long [NAME...]}")
shift
if ! python=$(cd "$source_dir" && . scripts/lib.sh && python_environment); then
  echo "no python for it: scripts/setup --tests makes build/python"
  exit 1
fi
work=$(mktemp -d)
trap 'cd /; rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONDONTWRITEBYTECODE=1
"$python" "$source_dir/tests/journeys/trajectory/run.py" "$program" "$@"
