#!/usr/bin/env bash
# units_test.sh LIBTORCH_ROOT UNIT_SOURCES: the tree compiles with all sources of a module in one unit (0), so that names are unique whatever the units are, or with
# a unit a source (1), so that each includes what it needs. Without CUDA, which leaves other sources than with it. Not optimised.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unity=ON
if [ "$2" = 1 ]; then unity=OFF; fi
cmake -S "$source_dir" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DDISSENT_CUDA=OFF -DLibTorch_ROOT="$1" \
  -DDISSENT_UNITY="$unity" -DDISSENT_UNIT_SOURCES="$2" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
CCACHE_DISABLE=1 ninja -C "$work" -k 0 > "$work/log" 2>&1 || { grep -E 'error:|previously|FAILED' "$work/log" | head -n 300; exit 1; }
echo "compiles"
