#!/usr/bin/env bash
# faults_test.sh PROGRAM NULL_GPU_FOLDER: NCCL that is late, never takes a call, never ends one or fails, and ranks that hang: the documented error
# within the timeout, and the right rank is named.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
timeout_s=4

cat > cache.toml <<'TOML'
[data]
dataset = "synthetic"
rows = "800"
dim = 32
classes = 10
[trunk]
model = "none"
[cache]
output = "train.cache"
TOML
"$1" cache cache.toml --quiet > /dev/null 2>&1
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
for victim in 0 2; do
  command="kill -STOP of rank $victim of 3"
  rm -rf results
  setsid "$source_dir/scripts/mpirun" 3 "$program" train heads.toml --quiet --set training.epochs=100000 > out 2> err &
  job=$!
  for _ in $(seq 200); do
    sleep 0.05
    [ "$(find results -name 'heartbeat.*' -size +0 2>/dev/null | wc -l)" != 3 ] || break
  done
  mapfile -t ranks < <(pgrep -f "^$1 train heads.toml" | sort -n)
  [ "${#ranks[@]}" = 3 ] || failed "${#ranks[@]} processes train, expected 3"
  kill -STOP "${ranks[$victim]}"
  waited=0
  while kill -0 "$job" 2>/dev/null && [ "$waited" -lt 200 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  kill -0 "$job" 2>/dev/null && failed "still running" && kill -9 "$job"
  status=0
  wait "$job" || status=$?
  kill -9 "${ranks[$victim]}" 2>/dev/null || true
  expect_exit 4
  grep -q "did not end within $timeout_s s" err || failed "nothing says that a message did not come"
  blamed=$(grep -m1 "did not end within" err | grep -oE "rank [0-9]+ on [^ ]*: epoch [0-9]+, step [0-9]+, last sign of life" | cut -d: -f1 | cut -d' ' -f2 | tr '\n' ' ')
  [ "$blamed" = "$victim " ] || failed "blamed: $blamed, expected $victim"
done
finish
