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
expect_text "rows       120" "features   84 f32" "checksums correct"

# Training on it: stopped and resumed; exported; evaluated on the CPU, to a table.
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
stopped heads 3 heads.toml
expect_file results/heads/seed-42/checkpoint.h5
stopped heads 2 heads.toml
expect_text "event=resume folder=results/heads/seed-42"
on_gpu 1 train heads.toml --quiet --set experiment=done --set training.epochs=2
on_gpu 2 train heads.toml --quiet --set experiment=done_by_two --set training.epochs=2
well 1 export results/done/seed-42 --output exported
expect_file exported
printf '[evaluate]\nexperiment = "null"\nruns = ["exported"]\nid = "train.cache"\nmetrics = ["accuracy", "nll"]\noutput = "results/evaluated"\n' > evaluate.toml
well 1 evaluate evaluate.toml --quiet
well 1 tables --rows run,predictor --columns metric,score,dataset results/evaluated
expect_text "| ensemble " "accuracy train"

# The doctor finds the device, and that it computes nothing.
run_program 1 doctor
expect_exit 5
expect_text "a product of Float on the GPU differs from the CPU's by up to"
NULL_GPU_DEVICES=1 run_program 2 doctor
expect_text "2 ranks share a GPU"

# Refused.
refused 1 2 'runtime.device' 'found "cuda": evaluation runs on CPUs' -- evaluate evaluate.toml --set runtime.device=cuda
NULL_GPU_DEVICES=1 refused 2 2 "expected one rank per GPU, found that ranks 0 and 1 of a run share one" -- train heads.toml --quiet --set experiment=shared --set training.epochs=2
NULL_GPU_DEVICES=1 NCCL_HOSTID=same refused 2 2 "ranks 0 and 1 of a run share one" -- train heads.toml --quiet --set experiment=shared --set training.epochs=2
NULL_GPU_DEVICES=1 HOST_PER_RANK=1 on_gpu 2 train heads.toml --quiet --set experiment=shared --set training.epochs=2
# Two runs of one rank each share a GPU and its memory: rows that are kept on it by one rank are not by two.
synthetic_cache large 800000 32
large=(heads.toml --quiet --set data.train=large.cache --set 'data.validation=""' --set data.batch_size=2000 --set training.epochs=1)
export NULL_GPU_DEVICES=1 NULL_GPU_MEMORY_GB=0.24
on_gpu 1 train "${large[@]}" --set experiment=alone
expect_text "residency=device"
on_gpu 2 train "${large[@]}" --set experiment=runs --set 'seeds=[1,2]' --set grid.runs=2
expect_text "residency=host"
finish
