#!/usr/bin/env bash
# scripts/check_sizes and scripts/check_includes find what they are for: each case plants one fault in a small tree.
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

# body LINES: that many lines of statements.
body() { for _ in $(seq "$1"); do echo '  x += 1;  // {'; done; }

fresh
{ echo 'int sum(int x) {'; body 58; echo '  return x;'; echo '}'; echo 'int tail(int x) {'; body 2; echo '}'; } > "$tree/src/core/a.cpp"
expect check_sizes 1 'src/core/a.cpp:1: function sum has 61 lines, at most 60'
sed -i '2d' "$tree/src/core/a.cpp"
expect check_sizes 0 '1 files hold the limits'

fresh
{ echo 'namespace a {'; echo 'class B {'; echo '  int f() {'; body 60; echo '  }'; echo '};'; echo '}'; } > "$tree/src/core/b.hpp"
expect check_sizes 1 'src/core/b.hpp:3: function f has 62 lines'

fresh
{ echo 'int main() {'; body 40; echo '}'; } > "$tree/src/core/main.cpp"
expect check_sizes 1 'function main has 42 lines, at most 40'

fresh
{ printf 'def long():\n'; for _ in $(seq 60); do echo '    pass'; done; } > "$tree/src/core/a.py"
expect check_sizes 1 'function long has 61 lines'

fresh
seq 251 | sed 's/.*/int v&;/' > "$tree/src/core/c.hpp"
expect check_sizes 1 'src/core/c.hpp: 251 lines, at most 250'
mv "$tree/src/core/c.hpp" "$tree/src/core/c.cpp"
expect check_sizes 0 'hold the limits'
{ seq 401 | sed 's/.*/int v&;/'; } > "$tree/src/core/c.cpp"
expect check_sizes 1 'src/core/c.cpp: 401 lines, at most 400'
mv "$tree/src/core/c.cpp" "$tree/tests/c.cpp"
expect check_sizes 0 'hold the limits'

fresh
printf '// %s: later\n' "TO""DO" > "$tree/src/core/d.cpp"
expect check_sizes 1 'src/core/d.cpp:1: unfinished work'

fresh
expect check_sizes 1 ''
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

[ "$failures" = 0 ] && echo "lint: every planted fault was found"
exit "$failures"
