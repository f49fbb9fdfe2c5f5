#!/usr/bin/env bash
# gpu_order_test.sh PROGRAM LIBRARY: LibTorch's CUDA library is loaded before anything is computed, by each verb that takes a device and by a pack whose first job
# computes on the CPU. LIBRARY, preloaded, makes the program find a GPU; as there is none the run then ends at the device itself, not with an error of the order.
set -euo pipefail
fake_gpu=$(realpath "${2:?usage: $0 PROGRAM LIBRARY}")
. "$(dirname "$0")/lib.sh"

image_set images 60 28
cat > images.toml <<'TOML'
experiment = "images"
seeds = [3]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
transform = "mnist_train"
batch_size = 20
[ensemble]
members = 2
model = "lenet"
[loss.cross_entropy]
[runtime]
device = "cuda"
TOML
cat > cache.toml <<'TOML'
[cache]
output = "train.cache"
[trunk]
model = "lenet"
weights = "random"
[data]
dataset = "mnist"
split = "test"
root = "images"
transform = "mnist_test"
[runtime]
device = "cuda"
TOML

# reaches_the_device: what the program said last is of a device that is not there.
reaches_the_device() {
  [ "$status" != 0 ] || failed "a GPU that is not there did the work"
  ! grep -q "first checks for CUDA" out err "$@" || failed "loaded too late"
  grep -qiE "CUDA (error|driver|call)|cuda.*(driver|device)" out err "$@" || failed "nothing of the device"
}
export CUDA_VISIBLE_DEVICES='' LD_PRELOAD=$fake_gpu
for verb in train cache; do
  config=images.toml
  [ $verb = train ] || config=cache.toml
  run_program 1 $verb $config --quiet
  reaches_the_device
done
run_program 1 doctor --folder .
grep -q "too late" out err && failed "doctor loads too late"

# A pack of two groups of one process: a convolution, a backward pass and what else a training does on the CPU, then a job on a GPU.
cat > pack.csv <<'CSV'
name,verb,config,set:experiment,set:seeds,set:runtime.device
cpu,train,images.toml,pack,[{31..32}],cpu
gpu,train,images.toml,pack,[{33..34}],cuda
CSV
run_program 1 jobs run pack.csv --pack 2 --no-files
for seed in 31 32; do expect_file results/pack/seed-$seed/checkpoint.h5; done
[ "$(find results/jobs -path '*/pack-*/start.*' | wc -l)" = 1 ] || failed "not one MPI job"
mapfile -t logs < <(find results/jobs -name stderr.txt)
reaches_the_device "${logs[@]}"

finish
