#!/usr/bin/env bash
# split_test.sh PROGRAM: the number of ranks changes no byte of a cache, a checkpoint, train.csv or a result file.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Seven shards, the last one short: on 2 and 3 ranks some have no row of a shard.
image_set images 700 14
image_set other 150 14 700
for ranks in 1 2 3; do
  mkdir "on_$ranks"
  cd "on_$ranks"
  cache "$ranks" train ../images cache.shard_rows=110
  expect_exit 0
  diff -r ../on_1/train.cache train.cache > out || failed "a cache written on $ranks ranks differs from one written on 1"
  cd ..
done
cache 1 validation other
cache 1 unknown other data.labels=false

# Relative paths, so that the configuration in the checkpoint is the same. A SED-like mix of losses, and one that couples all members.
cat > train.toml <<'TOML'
experiment = "split"
[data]
train = "../on_1/train.cache"
validation = "../validation.cache"
batch_size = 32
[ensemble]
members = 5
active = 2
model = "mlp"
hidden = 16
[loss.cross_entropy]
weight = 0.5
label_smoothing = 0.1
[loss.a2d]
weight = 0.1
sample_weight = "hard"
[schedule]
name = "cosine"
[training]
epochs = 2
clip_norm = 1.0
TOML
cat > coupled.toml <<'TOML'
include = ["train.toml"]
experiment = "coupled"
[data]
unlabelled = "../unknown.cache"
[ensemble]
active = "all"
[loss]
a2d = false
[loss.divdis]
weight = 0.1
[loss.kl_backward]
[disagreement]
on = "unlabelled"
[optimizer]
name = "sgd"
momentum = 0.9
TOML
cat > evaluate.toml <<'TOML'
[evaluate]
runs = ["results/*/*"]
id = "../validation.cache"
validation = "../on_1/train.cache"
predictors = ["ensemble", "soup", "best", "mean", "members"]
allow_test_selection = true
fit = "../on_1/train.cache"
scores = ["msp", "pds", "gen", "klm", "react", "mds", "knn"]
shaping = ["react"]
metrics = ["accuracy", "nll", "ece", "auroc", "fpr95"]
temperature = "optimum"
logits_cache = "f16"
block_rows = 32
output = "figures"
[[evaluate.sets]]
name = "train"
shift = "covariate"
paths = ["../on_1/train.cache"]
[[evaluate.sets]]
name = "unknown"
paths = ["../unknown.cache"]
TOML

for ranks in 1 2 3 5; do
  mkdir -p "on_$ranks"
  cd "on_$ranks"
  for experiment in train coupled; do well "$ranks" train "../$experiment.toml" --quiet --set 'grid.data="auto"'; done
  for experiment in split coupled; do
    for file in checkpoint.h5 train.csv config.toml; do expect_same "../on_1/results/$experiment/seed-42/$file" "results/$experiment/seed-42/$file"; done
  done
  well "$ranks" evaluate ../evaluate.toml --quiet
  [ "$(wc -l < figures/*.csv)" -gt 20 ] || failed "the result file has few rows"
  diff -r ../on_1/figures figures > out || failed "results of $ranks ranks differ from those of 1"
  cd ..
done
finish
