#!/usr/bin/env bash
# faults_test.sh PROGRAM NULL_GPU_FOLDER: NCCL that is late, never takes a call, never ends one or fails, and ranks that hang: the documented error
# within the timeout, and the right rank is named.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
timeout_s=4

synthetic_cache train 800 32
cat > heads.toml <<TOML
experiment = "faults"
[data]
train = "train.cache"
batch_size = 8
[ensemble]
members = 4
model = "mlp"
hidden = 32
[loss.cross_entropy]
[training]
epochs = 2
[runtime]
device = "cuda"
timeout_s = $timeout_s
TOML

# Late by less than the timeout: nothing happens.
NULL_NCCL_FAULT=slow:20:1 well 2 train heads.toml --quiet
rm -r results
# fault KIND TEXT: every rank's 20th operation.
fault() {
  local start=$SECONDS
  NULL_NCCL_FAULT=$1:20 refused 2 4 "$2" "(rank " ", host " -- train heads.toml --quiet
  [ $((SECONDS - start)) -le $((timeout_s + 12)) ] || failed "$1: took $((SECONDS - start)) s"
  rm -rf results
}
fault hang "all_gather did not end within $timeout_s s"
fault stuck "all_gather did not end within $timeout_s s"
fault error "all_gather failed"

# A rank that hangs is named, and none of those that wait for it: they give signs of life.
export NULL_GPU_DEVICES=3
pattern="^$1 train heads.toml"
for victim in 0 2; do
  command="kill -STOP of rank $victim of 3"
  in_training 3 "$pattern" heads.toml --set training.epochs=100000
  kill -STOP "${ranks[$victim]}"
  ended $((timeout_s + 16)) "$pattern"
  expect_exit 4
  grep -q "did not end within $timeout_s s" err || failed "nothing says that a message did not come"
  [ "$(blamed)" = "$victim" ] || failed "blamed: $(blamed), expected $victim"
done
finish
