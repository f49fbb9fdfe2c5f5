#!/usr/bin/env bash
# The scripts check_unfinished, check_includes, check_used_includes, check_headers and format find what they are for: each case plants one fault in a
# small tree.
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

# Uses of other libraries: included by the file, or by its own header.
fresh
printf '#include <string>\n\nstd::string f();\n' > "$tree/src/core/g.hpp"
printf '#include "core/g.hpp"\n\n// std::map is in a comment\nstd::string f() { return "std::set"; }\n' > "$tree/src/core/g.cpp"
expect check_used_includes 0 'include what they use'
printf '#include "core/g.hpp"\n\n#include <vector>\n\n#include "core/h.hpp"\n\nint n = std::max(1, 2);\nint64_t k = 1;\n' > "$tree/src/core/i.cpp"
expect check_used_includes 1 'i.cpp:7: uses std::max: expected #include <algorithm>, found none'
expect check_used_includes 1 'i.cpp:8: uses int64_t: expected #include <cstdint>, found none'
"$source_dir/scripts/check_used_includes" --fix "$tree" > "$tree/log"
expect check_used_includes 0 'include what they use'
printf '#include "core/g.hpp"\n\n#include <algorithm>\n#include <cstdint>\n#include <vector>\n\n#include "core/h.hpp"\n\nint n = std::max(1, 2);\nint64_t k = 1;\n' |
  cmp - "$tree/src/core/i.cpp" || { echo "FAILED: check_used_includes --fix put includes elsewhere"; failures=$((failures + 1)); }

# Headers that compile only behind others.
fresh
mkdir "$tree/scripts" "$tree/build"
cp "$source_dir/scripts/check_headers" "$tree/scripts"
printf '[{"directory": "%s", "command": "c++ -std=c++20 -Isrc -Iinclude -o a.o -c dissent_compute.dir/a.cpp"}]' "$tree" > "$tree/build/compile_commands.json"
printf '#pragma once\nstruct First {};\n' > "$tree/src/core/first.hpp"
printf '#pragma once\n#include "core/first.hpp"\ninline First first() { return {}; }\n' > "$tree/src/core/second.hpp"
"$tree/scripts/check_headers" "$tree/build" > "$tree/log" || { cat "$tree/log"; echo "FAILED: check_headers refuses headers that compile"; failures=$((failures + 1)); }
sed -i '/first.hpp/d' "$tree/src/core/second.hpp"
if "$tree/scripts/check_headers" "$tree/build" > "$tree/log" || ! grep -qF 'src/core/second.hpp: does not compile on its own' "$tree/log"; then
  cat "$tree/log"
  echo "FAILED: check_headers took a header that needs another one before it"
  failures=$((failures + 1))
fi

# A file in another layout than .clang-format's; the source tree's clang-format is used.
printf 'int  f( ){return 1;}\n' > "$tree/src/core/f.cpp"
if "$source_dir/scripts/format" --check "$tree/src/core/f.cpp" > "$tree/log" 2>&1; then
  echo "FAILED: scripts/format --check took another layout"
  failures=$((failures + 1))
fi
grep -qF 'src/core/f.cpp:1:' "$tree/log" || { cat "$tree/log"; echo "FAILED: scripts/format --check names no place"; failures=$((failures + 1)); }

# Skips of tests: fine for want of a GPU or a privilege, else an error under --strict.
# junit LABEL STATUS OUTPUT
junit() {
  printf '<testsuite><testcase name="t" time="1.5" status="%s"><system-out>%s</system-out></testcase></testsuite>' "$2" "$3" > "$tree/tests.xml"
  printf '{"tests": [{"name": "t", "properties": [{"name": "LABELS", "value": ["%s"]}]}]}' "$1" > "$tree/tests.json"
}
report() {
  local wanted=$1 status=0 output
  output=$("$source_dir/scripts/test_report" "$tree" --strict) || status=$?
  if [ "$status" != "$wanted" ] || ! grep -qF -- "$2" <<<"$output"; then
    printf 'FAILED: test_report gave %s, expected %s and "%s"; it said:\n%s\n' "$status" "$wanted" "$2" "$output"
    failures=$((failures + 1))
  fi
}
junit unit run "all is well"; report 0 "unit          1 tests       2 s"
junit unit notrun ""; report 1 "skipped    t: no reason given  <- not allowed here"
junit gpu notrun "[1,0]&lt;stdout&gt;:skipped: no CUDA device"; report 0 "skipped    t: no CUDA device"
junit e2e notrun "skipped: missing privilege: to mount a tmpfs"; report 0 "missing privilege: to mount a tmpfs"
junit e2e run "skipped: no gnuplot"; report 1 "skipped    t: no gnuplot  <- not allowed here"
junit unit run "a_test.cpp:3: Skipped
no gnuplot here

[  SKIPPED ] A.B (0 ms)"; report 1 "skipped    t: no gnuplot here  <- not allowed here"

# scripts/check_words finds banned phrases: on one line, over two lines of a comment, in adjacent string literals, in other files, and as part of a name.
fresh
expect check_words 1 ''
printf 'int is_there = 0;  // "is" not, there\nconst char* kKey = "\\"threads_a_rank\\"";\n' > "$tree/src/core/g.cpp"
expect check_words 0 'no banned phrase in 1 files'
# planted FILE LINE PHRASE TEXT...: the check finds the phrase on this line of a file with these lines.
planted() { printf '%s\n' "${@:4}" > "$tree/$1"; expect check_words 1 "$1:$2: '$3': "; rm "$tree/$1"; }
planted src/core/h.cpp 2 "is not there" "int f();" '// The file is not there.'
planted src/core/h.cpp 1 "is not there" '// The file is not' '// there.'
planted src/core/h.cpp 2 "is not there" 'fail("{}: the file "' '     "is not there");'
planted src/core/h.cpp 1 "threads a rank" '/* Number of threads a rank. */'
planted src/core/h.cpp 1 "rows_a_step" 'int rows_a_step();'
planted src/core/h.cpp 1 "2.5 ms a step" 'const char* kText = R"(took 2.5 ms a step)";'
planted tests/h.py 3 "goes on" 'def f():' '    """Goes nowhere,' '    goes on."""'
planted tests/h.md 1 "if wanted" 'A table, if' 'wanted.'
planted tests/h.toml 2 "nobody's" 'a = 1' "# nobody's"

[ "$failures" = 0 ] && echo "lint: every planted fault was found"
exit "$failures"
