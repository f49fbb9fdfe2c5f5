#!/usr/bin/env bash
# A run that is interrupted many times and resumed on other splits and residencies ends with the bytes of one that never was: weights, optimiser, train.csv.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 600 10
cache 1 train images
image_set images 200 10 600
cache 1 validation images
cat > train.toml <<'TOML'
experiment = "resume"
seeds = [7]
[data]
train = "../train.cache"
validation = "../validation.cache"
batch_size = 8
chunk_rows = 150
[ensemble]
members = 5
active = 2
model = "mlp"
hidden = 128
[loss.cross_entropy]
weight = 0.5
[loss.a2d]
weight = 0.05
sample_weight = "hard"
[schedule]
name = "cosine"
per = "step"
[training]
epochs = 40
frozen_first_epoch = true
TOML

mkdir whole broken term
cd whole
well 2 train ../train.toml --quiet
cd ../broken

# USR1 through mpirun, at a random moment of the training, until the run is finished. The seed is fixed; the moments still depend on the machine.
RANDOM=11
stops=0
rounds=0
status=75
while [ "$status" = 75 ] && [ "$rounds" -lt 60 ]; do
  ranks=$((1 + rounds % 3 + (rounds % 4 == 3 ? 2 : 0)))
  before=$(stat -c %Y.%s results/resume/seed-7/heartbeat.0 2>/dev/null || echo none)
  residency=$([ $((rounds % 2)) = 1 ] && echo stream || echo host)
  "$source_dir/scripts/mpirun" "$ranks" "$program" train ../train.toml --quiet --set "data.residency=$residency" > out 2> err &
  job=$!
  for _ in $(seq 100); do # until the first rank beats
    sleep 0.05
    [ "$(stat -c %Y.%s results/resume/seed-7/heartbeat.0 2>/dev/null || echo none)" = "$before" ] || break
  done
  sleep "0.$((RANDOM % 4))"
  kill -USR1 "$job" 2>/dev/null || true
  status=0
  wait "$job" || status=$?
  [ "$status" != 75 ] || stops=$((stops + 1))
  rounds=$((rounds + 1))
  command="train, stopped by USR1, round $rounds on $ranks ranks"
  [ "$status" = 75 ] || expect_exit 0
  [ "$stops" -lt 20 ] || break
done
echo "stopped $stops times"
[ "$stops" -ge 3 ] || failed "stopped $stops times only: this machine is too fast for the test to mean anything"
well 5 train ../train.toml --quiet
for file in checkpoint.h5 best.h5 train.csv; do expect_same results/resume/seed-7/$file ../whole/results/resume/seed-7/$file; done

# TERM without a launcher; the job is told so by exit code 75 and by the provenance.
cd ../term
"$program" train ../train.toml --quiet > out 2> err &
job=$!
for _ in $(seq 100); do sleep 0.05; [ ! -s results/resume/seed-7/heartbeat.0 ] || break; done
kill -TERM "$job"
status=0
wait "$job" || status=$?
command="train, stopped by TERM"
expect_exit 75
grep -q '"state": "stopped"' results/resume/seed-7/provenance.json || failed "provenance.json does not say stopped"
well 3 train ../train.toml --quiet
expect_text "event=resume"
for file in checkpoint.h5 train.csv; do expect_same results/resume/seed-7/$file ../whole/results/resume/seed-7/$file; done

# Other data under the same name are refused when a run goes on.
cd ..
mkdir other
cd other
"$program" train ../train.toml --quiet > out 2> err &
job=$!
for _ in $(seq 100); do sleep 0.05; [ ! -s results/resume/seed-7/heartbeat.0 ] || break; done
kill -TERM "$job"
wait "$job" || true
cd ..
image_set images 600 10 2000
rm -r train.cache
cache 1 train images
cd other
refused 2 3 "was trained on other caches" -- train ../train.toml --quiet
finish
