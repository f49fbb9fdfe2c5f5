#!/usr/bin/env bash
# bench_test.sh FOLDER: every benchmark in FOLDER lists its options, refuses unknown options and wrong values, and prints measurements as JSON.
set -euo pipefail
folder=$1
failures=0
# refused TEXT PROGRAM ARGS...: exit code 2 and the text.
refused() {
  local text=$1 status=0 output
  shift
  output=$("$@" 2>&1) || status=$?
  if [ "$status" != 2 ] || ! grep -qF -- "$text" <<<"$output"; then
    printf 'FAILED: %s gave %s, expected 2 and "%s"; it printed:\n%s\n' "$*" "$status" "$text" "$output"
    failures=$((failures + 1))
  fi
}

count=0
for program in "$folder"/bench_*; do
  count=$((count + 1))
  "$program" --help | grep -qF -- --threads || { echo "FAILED: $program --help"; failures=$((failures + 1)); }
  refused "unrecognised option '--bogus'" "$program" --bogus 1
  refused "--threads: expected an integer >= 1, found 0" "$program" --threads 0
  refused "('x') for option '--threads' is invalid" "$program" --threads x
  refused "too many positional options" "$program" 1
done
[ "$count" = 7 ] || { echo "FAILED: found $count benchmarks in $folder, expected 7"; failures=$((failures + 1)); }
refused "--precision: expected one of f32, tf32, bf16; found 'x'" "$folder/bench_head_step" --precision x
refused "--precision with --device cpu: expected one of f32, found tf32" "$folder/bench_head_step" --precision tf32
refused "--only: expected one of knn, mds, mds_fit; found 'nn'" "$folder/bench_neighbours" --only nn

# A small measurement.
"$folder/bench_neighbours" --threads 1 --only knn --bank 4000 --dim 16 --rows 64 --k 5 --block 500 2> /dev/null | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert [row["what"] for row in rows] == ["knn: products f32", "knn: score", "knn: products f64", "knn: fit"], rows
assert all(row["bench"] == "neighbours" and row["peer"] == "dissent" and row["ms"] > 0 and row["threads"] == row["ranks"] == 1 for row in rows), rows
' || { echo "FAILED: bench_neighbours prints no measurements"; failures=$((failures + 1)); }
[ "$failures" = 0 ] && echo "bench: options are checked"
exit "$((failures > 0))"
