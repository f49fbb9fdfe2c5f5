#!/usr/bin/env bash
# cuda_option_test.sh LIBTORCH_ROOT: what -DDISSENT_CUDA=AUTO|ON|OFF does on a machine without a toolkit (CMake is told not to look for one).
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
torch=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect NAME STATUS TEXT OPTIONS...: configuring ends with the status (0, or 1 for any failure) and prints the text.
expect() {
  local name=$1 expected=$2 text=$3 status=0 output
  shift 3
  output=$(cmake -S "$source_dir" -B "$work/$name" -G Ninja -DLibTorch_ROOT="$torch" -DDISSENT_BUILD_TESTS=OFF -DDISSENT_BUILD_BENCH=OFF "$@" 2>&1) || status=1
  if [ "$status" != "$expected" ] || ! grep -qF -- "$text" <<<"$(tr -s ' \n' ' ' <<<"$output")"; then
    printf 'FAILED: %s ended with %s, expected %s and "%s"; it said:\n%s\n' "$name" "$status" "$expected" "$text" "$output"
    failures=$((failures + 1))
  fi
}

expect on_without_toolkit 1 'DISSENT_CUDA=ON: expected CUDA toolkit, NCCL and a LibTorch with CUDA; found CUDA toolkit' -DDISSENT_CUDA=ON -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON
expect auto_without_toolkit 0 'CUDA and NCCL OFF' -DDISSENT_CUDA=AUTO -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON
expect off 0 'CUDA and NCCL OFF' -DDISSENT_CUDA=OFF
expect unknown 1 'DISSENT_CUDA: expected AUTO, ON or OFF' -DDISSENT_CUDA=maybe
if grep -q nccl.cpp "$work/off/build.ninja"; then
  echo "FAILED: DISSENT_CUDA=OFF compiles nccl.cpp"
  failures=$((failures + 1))
fi
[ "$failures" = 0 ] && echo "DISSENT_CUDA: AUTO, ON and OFF do as they say"
exit "$failures"
