#!/usr/bin/env bash
# checkpoint_kill_test.sh PROGRAM: kill -9 of every rank while a checkpoint is being written. The one before it stays whole, the run goes on from it on
# other ranks, and ends with the bytes of one that was never killed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
wanted=6 # kills that hit the writing

image_set images 300 28
cache 1 train images
image_set images 100 28 600
cache 1 validation images
# Large enough that a checkpoint (100 MB) takes longer to write than the watcher to see it.
cat > train.toml <<'TOML'
experiment = "kill"
seeds = [7]
[data]
train = "../train.cache"
validation = "../validation.cache"
batch_size = 60
chunk_rows = 150
[ensemble]
members = 8
active = 3
model = "mlp"
hidden = 1300
[loss.cross_entropy]
[loss.a2d]
weight = 0.05
[training]
epochs = 4
look_ahead = 1
TOML

mkdir whole killed
cd whole
well 2 train ../train.toml --quiet
cd ../killed
run=results/kill/seed-7

# appeared: waits until one of the two temporary files is there, while the job runs. Spins: the file is there for a tenth of a second.
appeared() {
  for ((i = 0; i < 2000000; ++i)); do
    [ ! -e $run/checkpoint.h5.tmp ] && [ ! -e $run/best.h5.tmp ] || return 0
    ((i % 1000)) || kill -0 "$job" 2>/dev/null || return 1
  done
  return 1
}

RANDOM=5
hits=0 resumed=0 rounds=0
splits=(1 3 2)
while [ "$hits" -lt "$wanted" ] && [ "$rounds" -lt 25 ]; do
  ranks=${splits[rounds % 3]}
  residency=$([ $((rounds % 2)) = 1 ] && echo stream || echo host)
  rounds=$((rounds + 1))
  command="train, killed while it writes a checkpoint, round $rounds on $ranks ranks, residency $residency"
  rm -f $run/*.tmp
  "$source_dir/scripts/mpirun" "$ranks" "$program" train ../train.toml --quiet --set "data.residency=$residency" --set checkpoint.every_minutes=0 > out 2> err &
  job=$!
  for ((writing = RANDOM % 3; writing >= 0; --writing)); do # the first, second or third of this round
    appeared || break
    if [ "$writing" -gt 0 ]; then while [ -e $run/checkpoint.h5.tmp ] || [ -e $run/best.h5.tmp ]; do :; done; fi
  done
  mapfile -t pids < <(pgrep -P "$job" -f "^$program train")
  sleep "$(printf '0.%03d' $((RANDOM % 80)))"
  [ "${#pids[@]}" = 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
  status=0
  wait "$job" || status=$?
  [ "$status" != 0 ] || break # it was done before
  if [ -e $run/checkpoint.h5.tmp ] || [ -e $run/best.h5.tmp ]; then hits=$((hits + 1)); fi
  ! grep -q event=resume err || resumed=$((resumed + 1))
  ! grep -q '^dissent: ' err || { failed "the round ended with an error of its own"; break; }
  for file in checkpoint best; do
    [ ! -e $run/$file.h5 ] || "$program" inspect $run/$file.h5 > out 2> err || failed "$file.h5 cannot be read after the kill"
  done
done
echo "killed $rounds times, $hits times while a checkpoint was written, $resumed rounds went on from an earlier one"
[ "$hits" -ge 1 ] || failed "no kill hit the writing of a checkpoint: the test shows nothing"
[ "$resumed" -ge 1 ] || failed "no round went on from a checkpoint"
well 2 train ../train.toml --quiet
for file in checkpoint.h5 best.h5 train.csv; do expect_same $run/$file ../whole/$run/$file; done
left=$(find . -name '*.tmp')
[ -z "$left" ] || failed "left behind: $left"
finish
