#!/usr/bin/env bash
# trunk_test.sh PROGRAM: caches of a network's features: the same bytes for any ranks, threads and workers and after a kill; dtypes; passes; weights of a
# trained ensemble; what is refused; and that the published configurations are read.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 800 28
cat > trunk.toml <<'TOML'
[cache]
output = "whole.cache"
passes = 2
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
device = "cpu"
threads = 1
TOML
# trunk RANKS NAME [SETTINGS...]
trunk() {
  local ranks=$1 name=$2 setting settings=()
  shift 2
  for setting in "$@"; do settings+=(--set "$setting"); done
  run_program "$ranks" cache trunk.toml --quiet --set "cache.output=$name.cache" "${settings[@]}"
}
# same_shards NAME NAME: the same files, byte for byte.
same_shards() { diff <(cd "$1.cache" && sha256sum -- shard-*) <(cd "$2.cache" && sha256sum -- shard-*) > out || failed "$1.cache and $2.cache differ"; }

# Any layout gives the same bytes.
trunk 1 whole
expect_exit 0
expect_text "event=cache_written path=whole.cache rows=1600 dim=84 shards=2"
trunk 2 two
same_shards whole two
trunk 3 three
same_shards whole three
trunk 1 threads runtime.threads=2
same_shards whole threads
trunk 2 workers runtime.threads=2 data.workers=2
same_shards whole workers
well 1 inspect --verify whole.cache
expect_text "rows       1600 (2 passes of 800)" "features   84 f32" "source     mnist/test, 800 images, " "trunk      lenet/features" "weights    xxh3:" "transform  mnist_train" \
  "checksums correct"

# Killed at any time it goes on, on another number of ranks.
"$program" cache trunk.toml --quiet --set cache.output=killed.cache --set cache.shard_rows=100 --set cache.passes=3 > out 2> err &
pid=$!
shards() { grep -c '^\[\[shard' killed.cache/manifest.toml.partial 2>/dev/null || true; }
for _ in $(seq 2400); do
  [ "$(shards)" -ge 2 ] 2>/dev/null && break
  sleep 0.02
done
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
expect_file killed.cache/manifest.toml.partial
trunk 2 killed cache.shard_rows=100 cache.passes=3
expect_exit 0
expect_text "event=cache_resumed path=killed.cache"
trunk 2 unbroken cache.shard_rows=100 cache.passes=3
same_shards unbroken killed

# Other dtypes of the file, and of the products.
for dtype in f16 bf16; do
  trunk 2 "$dtype" "cache.dtype=$dtype"
  expect_exit 0
  well 1 inspect --verify "$dtype.cache"
  expect_text "features   84 $dtype"
done
trunk 1 half trunk.precision=bf16
expect_exit 0
expect_other half.cache/shard-00000.h5 whole.cache/shard-00000.h5
refused 1 2 "expected a cache of this configuration, found another one (data.seed: 42 in the file, 7 in this configuration)" -- cache trunk.toml --quiet --set data.seed=7

# Features of members that were trained, and heads on them.
cat > train.toml <<'TOML'
experiment = "lenets"
[data]
kind = "images"
dataset = "mnist"
root = "images"
split = "test"
transform = "mnist_train"
batch_size = 100
[ensemble]
members = 2
model = "lenet"
[loss.cross_entropy]
[optimizer]
learning_rate = 0.05
[runtime]
device = "cpu"
TOML
well 2 train train.toml --quiet
run=results/lenets/seed-42
for member in 0 1; do
  trunk 2 "member$member" "trunk.weights=$run" "trunk.member=$member" cache.passes=1 data.transform=mnist_test
  expect_exit 0
done
expect_other member0.cache/shard-00000.h5 member1.cache/shard-00000.h5
cat > heads.toml <<'TOML'
experiment = "heads"
[data]
train = "member1.cache"
batch_size = 50
[ensemble]
members = 2
model = "linear"
[loss.cross_entropy]
TOML
well 1 train heads.toml --quiet
refused 1 3 "member0.cache: expected features of lenet/features with the weights xxh3:" ", as member1.cache has, found lenet/features with xxh3:" -- \
  train heads.toml --quiet --set data.validation=member0.cache

# What is refused.
refused_trunk() {
  local ranks=$1 code=$2 text=$3 setting settings=()
  shift 3
  for setting in "$@"; do settings+=(--set "$setting"); done
  refused "$ranks" "$code" "$text" -- cache trunk.toml --quiet --set cache.output=refused.cache "${settings[@]}"
}
refused_trunk 3 2 "trunk.member: expected 0 .. 1 (one network of $run/checkpoint.h5), found nothing" "trunk.weights=$run"
refused_trunk 1 2 "trunk.model: expected \"lenet\" (the network of $run/checkpoint.h5), found \"resnet18_32x32\"" "trunk.weights=$run" trunk.model=resnet18_32x32
refused_trunk 2 2 "trunk.cut: expected one of features (lenet), found \"layer3\"" trunk.cut=layer3
refused_trunk 1 2 "cache.passes: expected 1, found 2: data.transform = \"mnist_test\" is not random" data.transform=mnist_test
refused_trunk 1 2 "trunk.weights: expected the weights of lenet" 'trunk.weights=""'
for settings in 'trunk.member=0' 'data.root=nowhere' 'trunk.prefix="nets.0."'; do
  refused_trunk 1 3 "trunk.weights (nowhere.pth): expected a safetensors or .pth file, a run folder or a checkpoint, found nothing" trunk.weights=nowhere.pth "$settings"
done
mkdir empty_run
refused_trunk 1 3 "trunk.weights (empty_run): expected a run folder with checkpoint.h5, found a folder without" trunk.weights=empty_run
printf 'no weights at all' > text.pth
refused_trunk 1 3 "text.pth: " trunk.weights=text.pth
# A transform to other sizes than the network's: before images or weights are looked at.
refused_trunk 1 2 'data.transform: expected a transform to images with edges of 28 .. 31 pixels for trunk.model = "lenet", found "cifar10_test" (32 pixels)' \
  trunk.weights=nowhere.pth data.transform=cifar10_test data.root=nowhere
refused_trunk 1 2 "trunk.model: expected a network, since corruption or trunk.weights is set" trunk.model=pixels
mkdir -p pictures/a pictures/b
cp "$source_dir"/tests/data/photographs/*.jpg pictures/a/
cp pictures/a/chelsea.jpg pictures/b/
printf 'b\na\n' > classes.txt
well 1 imglist pictures --root pictures --classes classes.txt --output pictures.txt
printf 'b/chelsea.jpg 0\na/astronaut.jpg 1\na/chelsea.jpg 1\n' > expected.txt
expect_same pictures.txt expected.txt
trunk 2 pictures data.dataset=pictures data.root=pictures data.list=pictures.txt
expect_text "event=cache_written path=pictures.cache rows=6"
head -c 5000 pictures/a/chelsea.jpg > pictures/b/chelsea.jpg
refused_trunk 2 3 "pictures/b/chelsea.jpg" data.dataset=pictures data.root=pictures data.list=pictures.txt

# The published configurations: read as they stand, and what is missing are the files.
mkdir published
cd published
for config in "$source_dir"/configs/sed/caching_*.toml; do
  case $config in *_base.toml) continue ;; esac
  refused 1 3 "trunk.weights (data/weights/" "found nothing" -- cache "$config" --set runtime.device=cpu
done
refused 1 3 "data/datasets/" "no such folder" -- cache "$config" --set runtime.device=cpu --set 'trunk.weights="random"'
cd ..
expect_no_file published/data
finish
