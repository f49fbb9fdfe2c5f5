#!/usr/bin/env bash
# disk_errors_test.sh PROGRAM DISK_FAULTS: the first, second, third, fifth, ... write of a cache, a training and an evaluation on two ranks fails, and all after
# it: exit code 3 and one error line with the file and the reason, whatever was open; without the fault the run then ends with the bytes of one that
# never met it.
set -euo pipefail
faults=$(realpath "$2")
. "$(dirname "$0")/../e2e/lib.sh"

cat > cache.toml <<'TOML'
[cache]
output = "test.cache"
[trunk]
model = "none"
[data]
dataset = "synthetic"
rows = 300
dim = 16
classes = 5
TOML
cat > train.toml <<'TOML'
experiment = "disk"
seeds = [7]
[data]
train = "../test.cache"
validation = "../test.cache"
batch_size = 30
[ensemble]
members = 2
model = "mlp"
hidden = 16
[loss.cross_entropy]
[training]
epochs = 2
[runtime]
timeout_s = 30
TOML
cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "disk"
runs = ["results/disk/seed-7"]
id = "../test.cache"
fit = "../test.cache"
logits_cache = "f32"
figures = true
scores = ["msp", "mds"]
[[evaluate.sets]]
name = "other"
paths = ["../test.cache"]
TOML
well 1 cache cache.toml --quiet
mkdir whole
cd whole
well 2 train ../train.toml --quiet
cp -r results trained
well 2 evaluate ../evaluate.toml --quiet
cd ..

# fails VERB CONFIG: in folders of their own, until a run has no write that could fail.
fails() {
  local verb=$1 config=$2 after=0 next=1 last hit
  while :; do
    local begun=$SECONDS
    rm -rf broken hit
    mkdir broken
    cd broken
    [ "$verb" != evaluate ] || cp -r ../whole/trained results
    status=0
    command="$verb on 2 ranks, writes fail after $after operations"
    CHAOS_DISK_FOLDER=$PWD CHAOS_DISK_FAULT=broken CHAOS_DISK_AFTER=$after CHAOS_DISK_HIT=$work/hit LD_PRELOAD=$faults \
      "$source_dir/scripts/mpirun" 2 "$program" "$verb" "$config" --quiet > ../out 2> ../err || status=$?
    cp ../out ../err .
    [ "$((SECONDS - begun))" -lt 60 ] || failed "took $((SECONDS - begun)) s"
    hit=no
    [ ! -e ../hit ] || hit=yes
    if [ "$hit" = yes ] && [ "$status" != 0 ]; then
      expect_exit 3
      expect_one_error_line ""
      # MPI-IO keeps the system's reason to itself.
      grep '^dissent: ' err | grep -qE 'Input/output error|file write failed' || failed "the error line names no error of the disk"
    else
      expect_exit 0
    fi
    well 2 "$verb" "$config" --quiet
    expect_kept "$verb"
    cd ..
    [ "$hit" = yes ] && [ "$failures" = 0 ] || break
    last=$next next=$((after + next)) after=$last
    tries=$((tries + 1))
  done
}
expect_kept() {
  case $1 in
    cache) for file in ../test.cache/shard-*; do expect_same "$file" "test.cache/${file##*/}"; done ;;
    train) for file in checkpoint.h5 best.h5 train.csv; do expect_same ../whole/results/disk/seed-7/$file results/disk/seed-7/$file; done ;;
    evaluate) for file in ../whole/results/*.csv; do expect_same "$file" "results/${file##*/}"; done ;;
  esac
  local left
  left=$(find . -name '*.tmp*')
  [ -z "$left" ] || failed "left behind: $left"
}
tries=0
fails cache ../cache.toml
fails train ../train.toml
fails evaluate ../evaluate.toml
echo "$tries runs whose disk failed"
[ "$tries" -ge 12 ] || failed "only $tries runs met the fault"
finish
