#!/usr/bin/env bash
# cuda_code_test.sh NVCC ARCHITECTURES FLAGS: scripts/check_cuda_code takes the kernels of src/kernels as this build compiles them, and finds what it is for:
# each other case plants one fault in a kernel.
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"
nvcc=$1 architectures=$2 flags=$3
python=$(python_environment)  # holds nvdisasm where the toolkit does not
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# check STATUS ARCHITECTURES ARGUMENTS...: the check ends with the status; leaves `output`.
check() {
  local expected=$1 architectures=$2 status=0
  shift 2
  output=$("$python" scripts/check_cuda_code --nvcc "$nvcc" --architectures "$architectures" --flags "$flags" "$@" 2>&1) || status=$?
  [ "$status" = "$expected" ] || failed "it ended with $status, expected $expected"
}
failed() {
  printf 'FAILED: %s; check_cuda_code said:\n%s\n' "$1" "$output"
  failures=$((failures + 1))
}
expect_text() {
  local text
  for text in "$@"; do grep -qE -- "$text" <<<"$output" || failed "nothing says: $text"; done
}

# planted NAME TEXT...: the check finds the faults in the kernel of this name whose body is on stdin. x and y are arrays of floats, i is the thread's number.
planted() {
  { echo "__global__ void __launch_bounds__(1024, 2) $1(float* x, float* y) { const int i = blockIdx.x * blockDim.x + threadIdx.x;"; cat; echo '}'; } > "$work/fault.cu"
  check 1 "${architectures%%;*}" "$work/fault.cu"
  shift
  expect_text "$@"
}

check 0 "$architectures"
expect_text 'CUDA code: [1-9][0-9]* kernels for [1-9][0-9]* architectures pass all checks'
echo "$output"

planted update_members_kernel 'expected 4 16-byte loads, found 0 of [1-9]' 'expected 3 16-byte stores, found 0 of [1-9]' \
  'expected loads of 8 or 16 bytes, found LDG' 'expected stores of 16 bytes, found STG' <<<'x[i] += y[i];'
planted update_members_kernel 'expected no f64 arithmetic, found [1-9]' <<<'x[i] = y[i] * 2.1;'
planted update_members_kernel 'expected no shared memory and no barrier, found [1-9]' \
  <<<'__shared__ float s[1024]; s[threadIdx.x] = y[i]; __syncthreads(); x[i] = s[1023 - threadIdx.x];'
planted update_members_kernel 'expected all loads before the first reciprocal or root' <<<'x[i] = y[static_cast<int>(sqrtf(y[i]))];'
# 100 values that all wait for their sum, in at most 32 registers.
planted update_members_kernel 'expected no spilled registers, found [1-9]' 'expected no access of local memory, found [1-9]' <<'CUDA'
  float v[100], sum = 0;
#pragma unroll
  for (int k = 0; k < 100; ++k) sum += v[k] = y[k * 1024 + i];
#pragma unroll
  for (int k = 0; k < 100; ++k) x[k * 1024 + i] = v[k] * sum;
CUDA
planted other_kernel 'other_kernel.*: a kernel without an entry' <<<'x[i] = y[i];'

[ "$failures" = 0 ] && echo "cuda_code: every planted fault was found"
exit "$((failures > 0))"
