#!/usr/bin/env bash
# metrics_test.sh METRICS_PEER SAMPLES CLASSES MEMBERS OOD_SAMPLES: the metrics of convention sklearn against scikit-learn on logits of that size.
set -euo pipefail
peer=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib.sh
if ! python=$(python_environment); then
  echo "FAILED: build/python, which scripts/setup --tests makes, is not there and could not be made"
  exit 1
fi
exec "$python" scripts/compare_metrics "$peer" "${@:2}"
