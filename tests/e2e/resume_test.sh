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
epochs = 20
frozen_first_epoch = true
TOML

mkdir whole term
cd whole
well 2 train ../train.toml --quiet
cd ..
expect_whole() { local file; for file in checkpoint.h5 best.h5 train.csv; do expect_same results/resume/seed-7/$file ../whole/results/resume/seed-7/$file; done; }
beat() { stat -c %.Y.%s results/resume/seed-7/heartbeat.0 2>/dev/null || echo none; }

# USR1 through mpirun, at random moments of the training, exactly 20 times, each time on another split and residency than before. A run that ends before
# the signal comes is compared and followed by a fresh one, with shorter waits. The seed is fixed; the steps still depend on the machine.
RANDOM=11
stops=0 rounds=0 runs=0 middle=0 longest_ms=400
places=()
splits=(1 3 2 5 4)
while [ "$stops" -lt 20 ] && [ "$rounds" -lt 60 ]; do
  [ -d "broken-$runs" ] || mkdir "broken-$runs"
  cd "broken-$runs"
  ranks=${splits[rounds % 5]}
  residency=$([ $((rounds % 2)) = 1 ] && echo stream || echo host)
  before=$(beat)
  "$source_dir/scripts/mpirun" "$ranks" "$program" train ../train.toml --quiet --set "data.residency=$residency" > out 2> err &
  job=$!
  for _ in $(seq 1000); do # until the first rank beats
    sleep 0.02
    [ "$(beat)" = "$before" ] && kill -0 "$job" 2>/dev/null || break
  done
  sleep "$(printf '0.%03d' $((RANDOM % longest_ms)))"
  kill -USR1 "$job" 2>/dev/null || true
  status=0
  wait "$job" || status=$?
  rounds=$((rounds + 1))
  command="train, stopped by USR1, round $rounds on $ranks ranks, residency $residency"
  if [ "$status" = 75 ]; then
    stops=$((stops + 1))
    place=$(sed -n 's/.*event=checkpoint path=.*checkpoint.h5 \(next_epoch=[0-9]* next_step=[0-9]*\)$/\1/p' err | tail -n 1)
    [ "${place##*step=}" = 0 ] || middle=$((middle + 1))
    places+=("$ranks/$residency:${place//[a-z_=]/}")
  else
    expect_exit 0
    expect_whole
    runs=$((runs + 1)) longest_ms=$((longest_ms / 2 + 10))
  fi
  cd ..
  [ "$failures" = 0 ] || break
done
echo "stopped $stops times in $((runs + 1)) runs, $middle times within an epoch; ranks/residency:epoch step: ${places[*]}"
[ "$stops" = 20 ] || failed "stopped $stops times in $rounds rounds, expected 20"
[ "$middle" -ge 10 ] || failed "stopped $middle times within an epoch only"
if [ -d "broken-$runs" ]; then
  cd "broken-$runs"
  well 5 train ../train.toml --quiet
  expect_text "event=resume"
  expect_whole
  cd ..
fi

# TERM without a launcher; the job is told so by exit code 75 and by the provenance.
cd term
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

# Stopped within the validation, which takes most of the time here: 8 rows are trained per epoch, and 100,000 validated. The epoch's steps are not repeated.
cd ..
cat > synthetic.toml <<'TOML'
[trunk]
model = "none"
[data]
dataset = "synthetic"
dim = 64
classes = 10
TOML
run_program 1 cache synthetic.toml --quiet --set cache.output=few.cache --set data.rows=8
run_program 1 cache synthetic.toml --quiet --set cache.output=many.cache --set data.rows=100000
sed 's|train.cache|few.cache|; s|validation.cache|many.cache|; s|^chunk_rows.*||; s|epochs = 20|epochs = 6|; s|^frozen.*||' train.toml > validation.toml
mkdir whole-validation validation
cd whole-validation
well 1 train ../validation.toml --quiet
cd ../validation
abandoned=0
for ranks in 1 2 3 1 2 3; do
  before=$(beat)
  "$source_dir/scripts/mpirun" "$ranks" "$program" train ../validation.toml --quiet > out 2> err &
  job=$!
  for _ in $(seq 1000); do
    sleep 0.02
    [ "$(beat)" = "$before" ] && kill -0 "$job" 2>/dev/null || break
  done
  sleep 0.1
  kill -USR1 "$job" 2>/dev/null || true
  status=0
  wait "$job" || status=$?
  [ "$status" != 0 ] || break
  command="train, stopped by USR1 within the validation, $ranks ranks"
  expect_exit 75
  ! grep -q "event=validation_abandoned" err || abandoned=$((abandoned + 1))
done
echo "abandoned the validation $abandoned times"
[ "$abandoned" -ge 2 ] || failed "abandoned the validation $abandoned times, expected at least 2"
well 2 train ../validation.toml --quiet
for file in checkpoint.h5 best.h5 train.csv; do
  expect_same results/resume/seed-7/$file ../whole-validation/results/resume/seed-7/$file
done

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
refused 2 3 "expected a run on the same caches (" "found one on others (" -- train ../train.toml --quiet
finish
