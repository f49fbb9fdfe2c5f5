#!/usr/bin/env bash
# Ranks that die or hang: the job ends in time, names the rank, leaves no process behind and no half-written checkpoint.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
timeout_s=4

image_set images 600 10
cache 1 train images
cat > dead.toml <<'TOML'
experiment = "dead"
seeds = [7]
[data]
train = "train.cache"
batch_size = 4
[ensemble]
members = 3
model = "mlp"
hidden = 64
[loss.cross_entropy]
[training]
epochs = 100000
TOML

# in_training RANKS: starts the job in the background and waits until every rank beats.
in_training() {
  rm -rf results
  setsid "$source_dir/scripts/mpirun" "$1" "$program" train dead.toml --quiet --set "runtime.timeout_s=$timeout_s" > out 2> err &
  job=$!
  for _ in $(seq 200); do
    sleep 0.05
    [ "$(find results -name 'heartbeat.*' -size +0 2>/dev/null | wc -l)" != "$1" ] || break
  done
  mapfile -t ranks < <(pgrep -f "^$program train dead.toml" | sort -n)
  [ "${#ranks[@]}" = "$1" ] || failed "${#ranks[@]} processes train, expected $1"
}

# ended SECONDS: waits for the job, at most so long.
ended() {
  local waited=0
  while kill -0 "$job" 2>/dev/null && [ "$waited" -lt "$(($1 * 10))" ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  kill -0 "$job" 2>/dev/null && failed "still running after $1 s" && kill -9 "$job"
  status=0
  wait "$job" || status=$?
  sleep 0.5
  ! pgrep -f "^$program train dead.toml" > /dev/null || failed "processes are left"
  expect_nothing_half_written results
}

for victim in 0 1 2; do
  command="kill -9 of rank $victim of 3"
  in_training 3
  kill -9 "${ranks[$victim]}"
  ended $((timeout_s + 10))
  [ "$status" != 0 ] || failed "exit code 0"
done

for victim in 0 1 2; do
  command="kill -STOP of rank $victim of 3"
  in_training 3
  kill -STOP "${ranks[$victim]}"
  ended $((timeout_s + 10))
  expect_exit 4
  grep -q "did not end within $timeout_s s" err || failed "nothing says that a message did not come"
  grep -qE "rank $victim on .*: epoch [0-9]+, step [0-9]+, last sign of life" err || failed "nothing names rank $victim"
  grep -q '"state": "failed"' results/dead/seed-7/provenance.json || failed "provenance.json does not say that the run failed"
  grep -qE "\"error\": \".*rank $victim on " results/dead/seed-7/provenance.json || failed "provenance.json does not name rank $victim"
done
finish
