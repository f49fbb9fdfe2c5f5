#!/usr/bin/env bash
# verify_test.sh PROGRAM: `dissent verify` holds on the reference files, and fails on copies with one thing changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
reference=$source_dir/tests/reference/metrics.h5

# expect_last PATTERN: of the last line of the output.
expect_last() { tail -n 1 out | grep -qxE "$1" || failed "the last line is: $(tail -n 1 out)"; }
# place TEXT: offset of the text's first appearance in the reference file.
place() { grep -abo -m 1 -- "$1" "$reference" | head -n 1 | cut -d: -f1; }

well 2 verify --require-all "$reference" "$source_dir/tests/reference/sed_losses.h5"
expect_last '[0-9]+ passed, 0 failed, 0 not covered'
passed=$(tail -n 1 out | sed 's/ passed.*//')
[ "$passed" -gt 200 ] || failed "only $passed cases passed"

cp "$reference" changed.h5
damage changed.h5 $(($(place '"recall": 0.95') + 12)) '1'  # 0.95 to 0.15
run_program 2 verify changed.h5
expect_exit 5
expect_last '[0-9]+ passed, 1 failed, 0 not covered'
grep -qE '^failed changed.h5: .*: out/value: ours .*, reference .*, difference .*, tolerance .*' out || failed "the failed case is not described"

cp "$reference" renamed.h5
damage renamed.h5 "$(place ccr)" 'xyz'
run_program 1 verify renamed.h5
expect_exit 0
expect_last '[0-9]+ passed, 0 failed, 1 not covered'
run_program 1 verify --require-all renamed.h5
expect_exit 5

head -c 100000 "$reference" > broken.h5
refused 2 3 "broken.h5: expected an HDF5 file, found one that HDF5 cannot open: truncated file" -- verify broken.h5
printf 'text\n' > text.h5
refused 1 3 "text.h5: expected an HDF5 file, found another" -- verify text.h5
refused 1 3 "nothere.h5" -- verify nothere.h5

# A GPU where there is none: refused before a file is read.
CUDA_VISIBLE_DEVICES="" refused 1 2 'runtime.device = "cuda": expected a GPU for each rank, found none on rank 0' -- verify --device cuda nothere.h5
CUDA_VISIBLE_DEVICES="" refused 2 2 'runtime.device = "cuda": expected a GPU for each rank, found none on rank 0' -- verify --device cuda "$reference"
[ ! -s out ] || failed "something was computed: $(head -n 1 out)"
refused 1 2 "--device: expected cpu or cuda, found 'gpu'" -- verify --device gpu "$reference"
well 1 verify --device cpu "$reference"
! grep -q '^device: \|cases computed on' out || failed "the report of the CPU names a device"
finish
