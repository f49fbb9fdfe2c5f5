#!/usr/bin/env bash
# gpu_day_test.sh BUILD NULL_GPU_FOLDER [long]: which stages scripts/gpu_day runs; with `long`, all of them from a bundle on the null GPU.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
export NULL_GPU=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
failed() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }
listed() { "$source_dir/scripts/gpu_day" --list "$@" | awk '{ printf "%s ", $1 }'; }

[ "$(listed --budget 150)" = "ceilings tests verify short_epoch " ] || failed "150 s: $(listed --budget 150)"
[ "$("$source_dir/scripts/gpu_day" --list | awk '{ sum += $2 } END { print sum }')" = 540 ] || failed "all stages take other than 540 s"
[ "$(listed --stages heads_50)" = "cache heads_50 " ] || failed "heads_50 alone, which needs the cache: $(listed --stages heads_50)"
if "$source_dir/scripts/gpu_day" --list --stages head > "$work/out" 2>&1; then failed "an unknown stage is taken"; fi
grep -q "expected ceilings, tests, .*; found head" "$work/out" || failed "an unknown stage: $(cat "$work/out")"
if "$source_dir/scripts/gpu_day" --list --budget 5 > "$work/out" 2>&1; then failed "5 s are taken"; fi


# refused TEXT ARGS...: ends with one line that says the text, and leaves no results.
refused() {
  local status=0
  "$source_dir/scripts/gpu_day" --output "$work/none" "${@:2}" > "$work/out" 2>&1 || status=$?
  if [ "$status" != 1 ] || ! grep -qF -- "$1" "$work/out" || [ "$(grep -c . "$work/out")" != 1 ]; then failed "exit code $status, expected 1 and one line with '$1': $(cat "$work/out")"; fi
  [ ! -e "$work/none" ] || failed "$*: results are there"
}
: > "$work/empty.tar.xz"
refused "$work/missing.tar.xz: expected an archive of scripts/bundle, found: " --bundle "$work/missing.tar.xz"
refused "$work/empty.tar.xz: expected an archive of scripts/bundle, found: " --bundle "$work/empty.tar.xz"
refused "--wrapper: expected a program, found $work/none" --wrapper "$work/none"

if [ "${3:-}" = long ]; then
  . "$source_dir/scripts/lib.sh"
  PATH=$(dirname "$(torch_python)"):$PATH
  "$source_dir/scripts/bundle" --build "$build" --output "$work" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  # Kernels compute nothing: tests of numbers fail, everything else has to work.
  NULL_GPU_COMPUTED=0 "$source_dir/scripts/gpu_day" --bundle "$work"/dissent-bundle-*.tar.xz --output "$work/day" --wrapper "$source_dir/tests/null_gpu/run" --rows 100000 || true
  cat > "$work/expected" <<'TEXT'
ceilings ceilings
short_epoch cache
short_epoch f32
head_steps dissent f32
head_steps torch f32
head_steps dissent tf32
head_steps torch tf32
head_steps dissent bf16
head_steps torch bf16
cache cache
epoch f32
epoch bf16
heads_50 f32
two_ranks cache
two_ranks members
image_steps dissent lenet f32
image_steps torch lenet f32
image_steps dissent resnet50 bf16
image_steps torch resnet50 bf16
caching deit
evaluation ood
TEXT
  while IFS= read -r line; do
    python3 -c '
import json, sys
stage, command = sys.argv[2].split(" ", 1)
found = [record for record in map(json.loads, open(sys.argv[1])) if record["stage"] == stage and record["command"] == command]
sys.exit(not (len(found) == 1 and found[0]["outcome"] == "ok"))' "$work/day/results.jsonl" "$line" || failed "$line: $(grep -hF -A40 "\$ " "$work/day/${line%% *}.log" | tail -n 5)"
  done < "$work/expected"
  [ -s "$work/day/table.txt" ] || failed "there is no table"
fi
[ "$failures" = 0 ] && echo "every expectation held"
exit "$((failures > 0))"
