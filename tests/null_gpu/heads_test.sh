#!/usr/bin/env bash
# heads_test.sh PROGRAM NULL_GPU_FOLDER [long]: training of heads on features. Without `long` one configuration of each kind.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
which=${3:-short}

# 200 steps of 4 rows each.
synthetic_cache train 800 64
synthetic_cache validation 200 64
cat > heads.toml <<'TOML'
[data]
train = "train.cache"
batch_size = 4
[ensemble]
members = 5
active = 2
model = "block_head"
hidden = 64
[loss.cross_entropy]
weight = 0.5
[loss.a2d]
weight = 2.5
sample_weight = "hard"
[optimizer]
name = "adamw"
[training]
on_nan = "error"
TOML
steps=200

budget heads_5 1 $steps heads.toml
budget heads_5_host 1 $steps heads.toml --set data.residency=host
budget heads_5_members 2 $steps heads.toml
budget heads_5_data_host 2 $steps heads.toml --set grid.members=1 --set grid.data=2 --set data.residency=host
# LibTorch refuses what has no deterministic algorithm.
on_gpu 1 train heads.toml --quiet --set runtime.device=cuda --set experiment=deterministic --set training.epochs=1 --set runtime.deterministic=true
if [ "$which" = long ]; then
  # Waves of many shapes: graphs pay off after some hundred.
  synthetic_cache large 8000 64
  budget heads_50 1 2000 heads.toml --set data.train=large.cache --set ensemble.members=50 --set optimizer.name=sgd --set training.on_nan=skip_step
  budget heads_5_stream 1 $steps heads.toml --set data.residency=stream --set data.chunk_rows=320
  budget heads_5_bf16 1 $steps heads.toml --set training.precision=bf16
  budget heads_5_clip 1 $steps heads.toml --set training.clip_norm=1
  budget heads_5_threshold 1 $steps heads.toml --set disagreement.below_threshold=0.5 --set loss.a2d.sample_weight=none
  budget heads_5_divdis 1 $steps heads.toml --set loss.divdis.weight=0.1
  budget heads_5_min_each 1 $steps heads.toml --set loss.divdis.weight=0.1 --set loss.divdis.reduction=min_each --set runtime.deterministic=true
  budget heads_5_unlabelled 1 $steps heads.toml --set data.unlabelled=validation.cache --set disagreement.on=unlabelled --set loss.a2d.sample_weight=none
  budget heads_5_frozen 1 $steps heads.toml --set training.frozen_first_epoch=true
  budget heads_mlp 1 $steps heads.toml --set ensemble.model=mlp
  budget heads_linear 1 $steps heads.toml --set ensemble.model=linear
  NULL_GPU_DEVICES=3 budget heads_50_members 3 $steps heads.toml --set ensemble.members=50
fi
# With validation, where a rank has threads, and the checkpoint of the best epoch.
for ranks in 1 2; do on_gpu $ranks train heads.toml --quiet --set runtime.device=cuda --set "experiment=validated_$ranks" --set data.validation=validation.cache --set training.epochs=1 --set runtime.threads=2; done
finish
