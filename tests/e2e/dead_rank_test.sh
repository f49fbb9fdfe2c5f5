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

pattern="^$program train dead.toml"

for victim in 0 1 2; do
  command="kill -9 of rank $victim of 3"
  in_training 3 "$pattern" dead.toml --set "runtime.timeout_s=$timeout_s"
  kill -9 "${ranks[$victim]}"
  ended $((timeout_s + 10)) "$pattern"
  [ "$status" != 0 ] || failed "exit code 0"
done

for victim in 0 1 2; do
  command="kill -STOP of rank $victim of 3"
  in_training 3 "$pattern" dead.toml --set "runtime.timeout_s=$timeout_s"
  kill -STOP "${ranks[$victim]}"
  ended $((timeout_s + 10)) "$pattern"
  expect_exit 4
  grep -q "did not end within $timeout_s s" err || failed "nothing says that a message did not come"
  [ "$(blamed)" = "$victim" ] || failed "blamed: $(blamed), expected $victim"
  grep -q '"state": "failed"' results/dead/seed-7/provenance.json || failed "provenance.json does not say that the run failed"
  grep -qE "\"error\": \".*rank $victim on " results/dead/seed-7/provenance.json || failed "provenance.json does not name rank $victim"
done
finish
