#!/usr/bin/env bash
# jobs_images_test.sh PROGRAM: sheets of trainings on images. Every sheet of jobs/ is understood, with its costs; SDDE's evaluations are, up to the files that are not here; small trainings
# share an MPI job; status and replay of image runs; what plan says against a training.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$source_dir/tests/e2e/jobs_lib.sh"
export DISSENT_JOBS_LEASE_S=6
well_jobs() { run_program 1 jobs "$@"; expect_exit 0; }
number() { grep -m1 -o "\"$1\": [-+0-9.e]*" "$2" | sed 's/.*: //'; }
within() { awk -v a="$1" -v x="$2" -v b="$3" 'BEGIN { exit !(a <= x && x <= b) }' || failed "$4: $2 is not in $1 .. $3"; }

image_set images 150 28
cat > lenet.toml <<'TOML'
experiment = "lenets"
seeds = [1]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
rows = ":100"
transform = "mnist_train"
batch_size = 25
[validation]
rows = "100:"
[ensemble]
members = 3
model = "lenet"
[loss.cross_entropy]
[loss.gradcam]
weight = 0.1
[optimizer]
name = "sgd"
learning_rate = 0.05
[training]
epochs = 2
ema_decay = 0.9
TOML

# Six trainings in one MPI job of two ranks, each of one; the fourth has no images: it is written down, its rank takes the next.
cat > six.csv <<'CSV'
name,verb,config,seed,set:seeds,set:data.root
good-{seed},train,lenet.toml,{1..5},[{seed}],
bad,train,lenet.toml,6,[6],nowhere
CSV
run_program 1 jobs run six.csv --pack 2 --no-files
expect_exit 5
expect_text "5 done, 1 failed" "nowhere"
[ "$(find results/jobs -path '*/pack-*/start.*' | wc -l)" = 1 ] || failed "not one MPI job"
expect_file results/lenets/seed-{1,2,3,4,5}/{checkpoint,best}.h5
well 1 train lenet.toml --quiet --set 'seeds=[4]' --set output=plain
expect_same plain/lenets/seed-4/checkpoint.h5 results/lenets/seed-4/checkpoint.h5
expect_same plain/lenets/seed-4/train.csv results/lenets/seed-4/train.csv
# The row that failed, put right, is the only one that is trained.
sed -i 's/,nowhere$/,/' six.csv
well_jobs run six.csv --pack 2
expect_text "6 jobs: 6 done"
[ "$(find results/jobs -path '*/train-*/attempt.2' | wc -l)" = 1 ] || [ "$(find results/jobs -name 'attempt.*' -path '*/train-*' | wc -l)" = 7 ] || failed "more than the bad row was trained again"

# What status tells is what the run wrote.
well_jobs status six.csv --csv back.csv
head -n 1 back.csv | grep -q 'last:accuracy_ensemble' || failed "back.csv has no accuracies"
grep -q '^good-3,.*,done,.*,2/2,' back.csv || failed "back.csv: $(grep '^good-3' back.csv)"
accuracy=$(tail -n 1 results/lenets/seed-3/train.csv | cut -d, -f8)
grep '^good-3,' back.csv | grep -qF ",$accuracy," || failed "back.csv does not have accuracy $accuracy: $(grep '^good-3' back.csv)"
sed 's/\[{seed}\]/[7]/; /^bad/d; s/{1..5}/7/' six.csv > long.csv
sed -i '1s/$/,set:training.epochs/; 2s/$/,400/' long.csv
"$program" jobs run long.csv > run.out 2> run.err &
runner=$!
wait_for results/lenets/seed-7/progress.json
for _ in $(seq 600); do
  well_jobs status long.csv
  grep -q '[1-9][0-9]* of 400 epochs, step [0-4] of 4, .* left' out && break
  sleep 0.2
done
grep -q '[1-9][0-9]* of 400 epochs, step [0-4] of 4, .* left' out || failed "status of a running job"
kill -INT "$runner"
status=0
wait "$runner" || status=$?
expect_exit 75

# Replay: bit for bit, of a run that was stopped and went on too; another image is another result, and is named.
well 1 replay results/lenets/seed-2
expect_text "bit for bit" "identical"
well 1 replay results/lenets/seed-2 --ranks 3
expect_text "identical"
well 1 train lenet.toml --quiet --set 'seeds=[8]' --set training.epochs=10 --set output=whole
cp lenet.toml stopped.toml
"$program" train stopped.toml --quiet --set 'seeds=[8]' --set training.epochs=10 > out 2> err &
job=$!
wait_for results/lenets/seed-8/progress.json
kill -USR1 "$job" 2>/dev/null || true
status=0
wait "$job" || status=$?
[ "$status" = 75 ] || echo "never stopped: the machine is too fast for this"
well 2 train stopped.toml --quiet --set 'seeds=[8]' --set training.epochs=10
expect_same whole/lenets/seed-8/checkpoint.h5 results/lenets/seed-8/checkpoint.h5
well 1 replay results/lenets/seed-8
expect_text "identical"
cp -r images kept
damage images/t10k-images-idx3-ubyte.gz 1000 '\377\0\377\0\377'
run_program 1 replay results/lenets/seed-2
expect_exit 5
expect_text "data: train mnist/test, 150 images" "members/" "differences"
rm -r images
mv kept images
run_program 1 replay results/lenets/seed-2 --set optimizer.learning_rate=0.04
expect_exit 5
expect_text "configuration:" "members/" "best.h5: members/" "train.csv: epoch 0, total:"

# Plan: memory, storage and time of that training; without images what can be said.
for try in 1 2 3 4; do
  well 1 plan lenet.toml --json --seconds 0.5 --set training.epochs=20 --set data.batch_size=50
  mv out before.json
  for epochs in 1 20; do
    well 1 train lenet.toml --quiet --force --set data.batch_size=50 --set "training.epochs=$epochs" --set output=timed
    cp timed/lenets/seed-1/provenance.json "$epochs.json"
  done
  measured=$(awk -v a="$(number wall_s 1.json)" -v b="$(number wall_s 20.json)" 'BEGIN { print (b - a) / 19 }')
  predicted=$(number epoch_s before.json)
  awk -v m="$measured" -v p="$predicted" 'BEGIN { exit !(p / 2 <= m && m <= 2 * p) }' && break
  echo "try $try: epoch $measured s, predicted $predicted"
done
# Factors as in plan_test.sh: 2 for a shared machine, 1.5 for libraries and allocator.
within "$(awk -v p="$predicted" 'BEGIN { print p / 2 }')" "$measured" "$(awk -v p="$predicted" 'BEGIN { print p * 2 }')" "seconds of an epoch"
memory=$(number rank before.json)
peak=$(number peak_memory_bytes_rank_0 20.json)
within "$((memory * 2 / 3))" "$peak" "$((memory * 3 / 2))" "peak memory"
bytes=$(stat -c %s timed/lenets/seed-1/checkpoint.h5)
predicted=$(number checkpoint <(sed -n '/"storage"/,$p' before.json))
within "$((predicted * 90 / 100))" "$bytes" "$((predicted * 110 / 100))" "bytes of the checkpoint"
well 2 plan lenet.toml --no-calibration --ranks 1,3,6,100 --set data.root=nowhere
expect_text "the images were not found" "number of images unknown" "1 x 3 x 1" "1 x 3 x 2" "100 ranks: more ranks than work"
well 1 plan lenet.toml --no-calibration --set data.root=nowhere --rows 1000
expect_text "40 batches, 40 steps per epoch"
refused 1 2 "--rows is for images that do not exist yet" -- plan lenet.toml --rows 9
refused 1 2 "--dim is for a cache" -- plan lenet.toml --dim 9
refused 2 2 "grid: expected runs x members x data" -- plan lenet.toml --set grid.data=3

# Every sheet of the project, some with what their rows cost; then SDDE's evaluations.
cd "$source_dir"
for sheet in jobs/*.csv; do
  command="dissent jobs run $sheet --dry-run"
  costs=(--no-cost)
  case $sheet in jobs/sdde_mnist.csv | jobs/sdde_cifar10.csv | jobs/sed_training.csv | jobs/quickstart.csv) costs=() ;; esac
  "$program" jobs run "$sheet" --dry-run --no-files "${costs[@]}" --state "$work/none" > "$work/out" 2> "$work/err" || { cd "$work"; failed "$sheet is not understood"; cd "$source_dir"; }
  # Caches that are not there leave the cost of a training on them open; trainings on images have one.
  grep 'unknown: ' "$work/out" | grep -v -e '--rows, --dim and --classes' && failed "$sheet: no cost"
done
[ "$("$program" jobs run jobs/sdde_cifar10.csv --dry-run --no-cost --no-files --state "$work/none" | grep -c '^train-\|^evaluate-')" = 70 ] || failed "jobs/sdde_cifar10.csv has not 7 methods x 5 seeds"
cd "$work"
for set in mnist cifar10 cifar100 imagenet200 imagenet; do
  refused 1 3 "results/sdde/sdde_${set}_*/seed-*/best.h5: expected files or folders of this name or pattern, found none" -- evaluate "$source_dir/configs/sdde/$set/evaluate.toml"
  refused 1 3 "no such image list" -- evaluate "$source_dir/configs/sdde/$set/evaluate.toml" --set 'evaluate.runs=["plain/lenets/seed-4/best.h5"]'
done
finish
