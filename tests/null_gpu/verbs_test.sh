#!/usr/bin/env bash
# verbs_test.sh PROGRAM NULL_GPU_FOLDER: every verb that takes a device; what is refused on one.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 120 28
# A network's features.
cat > trunk.toml <<'TOML'
[cache]
output = "train.cache"
[trunk]
model = "lenet"
weights = "random"
batch_size = 24
[data]
dataset = "mnist"
root = "images"
split = "test"
transform = "mnist_train"
[runtime]
device = "cuda"
TOML
on_gpu 1 cache trunk.toml --quiet
on_gpu 2 cache trunk.toml --quiet --set cache.output=two.cache
well 1 inspect --verify two.cache
expect_text "rows       120" "features   84 f32" "checksums hold"

# Training on it; stopped, resumed, exported, evaluated by the CPU.
cat > heads.toml <<'TOML'
experiment = "heads"
[data]
train = "train.cache"
validation = "train.cache"
batch_size = 8
[ensemble]
members = 3
model = "mlp"
hidden = 32
[loss.cross_entropy]
[training]
epochs = 100000
[runtime]
device = "cuda"
TOML
rm -f report/*.csv
"$program" train heads.toml --quiet > out 2> err &
job=$!
for _ in $(seq 400); do grep -q 'event=epoch .*epoch=1 ' err && break; sleep 0.05; done
kill -USR1 "$job"
status=0
wait "$job" || status=$?
command="train, stopped by USR1"
expect_exit 75
expect_file results/heads/seed-42/checkpoint.h5
stopped=$(grep -c . results/heads/seed-42/train.csv)
sed -i 's/^epochs = .*/epochs = 100000/' heads.toml
"$program" train heads.toml --quiet > out 2> err &
job=$!
for _ in $(seq 400); do [ "$(grep -c . results/heads/seed-42/train.csv)" -gt $((stopped + 2)) ] && break; sleep 0.05; done
kill -USR1 "$job"
status=0
wait "$job" || status=$?
command="train, resumed and stopped again"
expect_exit 75
expect_text "event=resume folder=results/heads/seed-42"
on_gpu 1 train heads.toml --quiet --set experiment=done --set training.epochs=2
on_gpu 2 train heads.toml --quiet --set experiment=done_by_two --set training.epochs=2
well 1 export results/done/seed-42 --output exported
expect_file exported

# The doctor finds the device, and that it computes nothing.
run_program 1 doctor
expect_exit 5
expect_text "a product of Float on the GPU differs from the CPU's by up to"
NULL_GPU_DEVICES=1 run_program 2 doctor
expect_text "2 ranks share a GPU"

# Refused.
printf 'runs = ["results/done"]\n[id]\ntest = "train.cache"\n' > evaluate.toml
refused 1 2 'runtime.device' '"cuda": evaluation computes on CPUs' -- evaluate evaluate.toml --set runtime.device=cuda
NULL_GPU_DEVICES=1 refused 2 2 "ranks 0 and 1 of a run share one GPU, expected one rank per GPU" -- train heads.toml --quiet --set experiment=shared --set training.epochs=2
NULL_GPU_DEVICES=1 NCCL_HOSTID=any on_gpu 2 train heads.toml --quiet --set experiment=shared --set training.epochs=2
# Two runs of one rank each share a GPU and its memory: rows that are kept on it by one rank are not by two.
cat > synthetic.toml <<'TOML'
[data]
dataset = "synthetic"
rows = "800000"
dim = 32
classes = 10
[trunk]
model = "none"
[cache]
output = "large.cache"
TOML
well 1 cache synthetic.toml --quiet
large=(heads.toml --quiet --set data.train=large.cache --set 'data.validation=""' --set data.batch_size=2000 --set training.epochs=1)
export NULL_GPU_DEVICES=1 NULL_GPU_MEMORY_GB=0.24
on_gpu 1 train "${large[@]}" --set experiment=alone
expect_text "residency=device"
on_gpu 2 train "${large[@]}" --set experiment=runs --set 'seeds=[1,2]' --set grid.runs=2
expect_text "residency=host"
finish
