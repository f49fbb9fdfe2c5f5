#!/usr/bin/env bash
# verify_test.sh PROGRAM NULL_GPU_FOLDER: `dissent verify --device cuda` computes every reference case that has tensors on the device. What is read
# back are zeros, so most cases differ; none may touch device memory from the host, mix devices or raise an error of CUDA or LibTorch.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
reference=$source_dir/tests/reference
files=("$reference"/*.h5)

# on_device FILES...: the cases differ, without an error of CUDA, and the device was used.
on_device() {
  rm -f report/*.csv
  run_program 1 verify --device cuda "$@"
  expect_exit 5
  [ "$status" = 5 ] || finish  # 139: the host has touched memory of the device
  [ "$(counted launches)" -gt 0 ] || failed "no kernel was launched"
  for name in errors failed_captures host_copies_in_graphs; do
    [ "$(counted $name)" = 0 ] || failed "$name: $(counted $name)"
  done
  ! grep -q '^null_gpu:' err || failed "$(grep -m 1 '^null_gpu:' err)"
}
# Failed cases that were not compared, without those of the pattern.
errors_but() { grep '^failed ' out | grep -v ': ours .*, difference .*, tolerance ' | grep -vE "$1" || true; }
expect_no_errors_but() {
  local errors
  errors=$(errors_but "$1")
  [ -z "$errors" ] || failed "errors: $errors"
}

# How many cases have tensors, by the table of kinds; the other kinds have no code for a device.
on_host='^(metric|schedule|preprocess)/'
run_program 1 verify "${files[@]}"
expect_exit 0
cases=$(awk '$1 ~ /\// && NF == 4 { sum += $2 } END { print sum + 0 }' out)
tensors=$(awk -v host="$on_host" '$1 ~ /\// && NF == 4 && $1 !~ host { sum += $2 } END { print sum + 0 }' out)
steps=$(awk '$1 == "step/sed_train" && NF == 4 { print $2 }' out)
[ "$tensors" -gt 500 ] || failed "$tensors cases of $cases have tensors"

on_device "${files[@]}"
expect_text "device: null GPU (cuda:0)"
grep -qx "$tensors of $cases cases computed on cuda:0" out || failed "expected $tensors of $cases cases on the device: $(grep 'cases computed' out)"
tail -n 1 out | grep -qE '^[0-9]+ passed, [0-9]+ failed, 0 not covered$' || failed "the last line is: $(tail -n 1 out)"
# Each computation has its largest difference; f64 once a case, but the update of a stack has f32 alone.
# computations DTYPE: lines of the report.
computations() { grep -v '^failed\|^not covered' out | grep -c " $1: "; }
[ "$(computations f64)" = $((tensors - steps)) ] || failed "$(computations f64) computations in f64, expected $((tensors - steps))"
[ "$(computations f32)" -gt 200 ] || failed "$(computations f32) computations in f32, expected more than 200"
# On values: with zeros nothing lies outside of a subspace, weights have no norm, a mask has no class.
zeros='vim: .*nothing is left outside of [0-9]+|normalized_weights: .*found 0$|votes_in_subset: mask: .*found none$'
expect_no_errors_but "$zeros"
[ "$(grep -cE "^failed .*($zeros)" out)" -lt 20 ] || failed "$(grep -cE "^failed .*($zeros)" out) cases end at a check of their values"

# Where the device is asked how many elements it has found: 6 (of imagenet_ar_0's classes, eigenvalues, samples above a threshold); norms are 1.
NULL_GPU_COUNT=6 on_device "$reference/postprocessors.h5" "$reference/sed_losses.h5"
expect_no_errors_but 'vim: .*nothing is left outside of [0-9]+'
NULL_GPU_COUNT=6 NULL_GPU_SCALAR=1 on_device "$reference/sed_scores.h5"
for name in ensemble_output_weights imagenet_ar_0; do
  grep -qE "^failed .*sed_scores.h5: $name: f64: .*ours .*, difference " out || failed "$name was not compared: $(grep "sed_scores.h5: $name:" out)"
done
finish
