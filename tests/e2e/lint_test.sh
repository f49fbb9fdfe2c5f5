#!/usr/bin/env bash
# scripts/check_unfinished, scripts/check_includes and scripts/format find what they are for: each case plants one fault in a small tree.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# expect CHECK STATUS TEXT: the check ends with the status and prints the text.
expect() {
  local status=0 output
  output=$("$source_dir/scripts/$1" "$tree" 2>&1) || status=$?
  if [ "$status" != "$2" ] || ! grep -qF -- "$3" <<<"$output"; then
    printf 'FAILED: %s gave %s, expected %s and "%s"; it said:\n%s\n' "$1" "$status" "$2" "$3" "$output"
    failures=$((failures + 1))
  fi
}

fresh() { rm -rf "${tree:?}"/*; mkdir -p "$tree/src/core" "$tree/src/losses" "$tree/src/train" "$tree/include/dissent" "$tree/tests"; }

fresh
printf '// %s: later\n' "TO""DO" > "$tree/src/core/d.cpp"
expect check_unfinished 1 'src/core/d.cpp:1: unfinished work'
echo '// done' > "$tree/src/core/d.cpp"
expect check_unfinished 0 'none in 1 files'

fresh
expect check_unfinished 1 ''
echo '#include "train/trainer.hpp"' > "$tree/src/core/e.cpp"
expect check_includes 1 'src/core/e.cpp:1: core includes train/trainer.hpp'
echo '#include "core/e.hpp"' > "$tree/src/core/e.cpp"
expect check_includes 0 'depend downwards only'
echo '#include "comm/communicator.hpp"' > "$tree/src/losses/a2d.cpp"
expect check_includes 1 'losses includes comm/communicator.hpp, of comm: losses may use only core, kernels'
printf '#include <ATen/ATen.h>\n#include <dissent/metrics/auroc.hpp>\n' > "$tree/src/losses/a2d.cpp"
expect check_includes 1 'src/losses/a2d.cpp:2: losses includes dissent/metrics/auroc.hpp'
rm "$tree/src/losses/a2d.cpp"
echo '#include <mpi.h>' > "$tree/src/train/wave.cpp"
expect check_includes 1 'train includes mpi.h, which belongs to'
rm "$tree/src/train/wave.cpp"
mkdir "$tree/src/misc"; echo > "$tree/src/misc/f.cpp"
expect check_includes 1 'the module misc has no place'

# A file in another layout than .clang-format's; the source tree's clang-format is used.
printf 'int  f( ){return 1;}\n' > "$tree/src/core/f.cpp"
if "$source_dir/scripts/format" --check "$tree/src/core/f.cpp" > "$tree/log" 2>&1; then
  echo "FAILED: scripts/format --check took another layout"
  failures=$((failures + 1))
fi
grep -qF 'src/core/f.cpp:1:' "$tree/log" || { cat "$tree/log"; echo "FAILED: scripts/format --check names no place"; failures=$((failures + 1)); }

[ "$failures" = 0 ] && echo "lint: every planted fault was found"
exit "$failures"
