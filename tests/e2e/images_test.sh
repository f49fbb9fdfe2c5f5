#!/usr/bin/env bash
# Training on images: every split of the members, any workers and any interruption give the same bytes; every loss trains; bad configurations are named.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 150 28
cat > base.toml <<'TOML'
experiment = "images"
seeds = [3]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "../images"
rows = ":110"
transform = "mnist_train"
batch_size = 25
[validation]
rows = "110:"
batch_size = 16
[ensemble]
members = 5
model = "lenet"
[loss.cross_entropy]
[optimizer]
name = "sgd"
learning_rate = 0.05
nesterov = true
weight_decay = 5e-4
[schedule]
name = "cosine"
per = "step"
minimum = 1e-6
[training]
epochs = 2
TOML
cat > gradcam.toml <<'TOML'
include = ["base.toml"]
[loss.gradcam]
weight = 0.1
[training]
clip_norm = 1.0
ema_decay = 0.9
accumulation = 2
TOML
cat > dice.toml <<'TOML'
include = ["base.toml"]
[data]
same_batch = true
sampler = "class_balanced"
samples_per_class = 5
[loss.dice]
weight = 0.2
ramp_epochs = 1
[loss.ncl]
weight = 0.1
[loss.adp]
weight = 0.1
[training]
clip_norm = 1.0
TOML
cat > outliers.toml <<'TOML'
include = ["base.toml"]
[unlabelled]
split = "test"
rows = "50:90"
batch_size = 20
[loss.oe]
weight = 0.5
[loss.gradcam]
weight = 0.05
[loss.input_gradient]
weight = 0.05
[loss.adversarial_cross_entropy]
[ensemble]
members = 3
TOML

# train FOLDER RANKS CONFIG [ARGS...]: a run of its own folder; folders are next to the images.
train() {
  local folder=$1 ranks=$2 config=$3
  shift 3
  mkdir -p "$folder"
  cd "$folder"
  run_program "$ranks" train "../$config.toml" --quiet "$@"
  cd ..
  cp "$folder/out" "$folder/err" .
}
files="results/images/seed-3/checkpoint.h5 results/images/seed-3/best.h5 results/images/seed-3/train.csv"
expect_same_run() { local file; for file in $files; do expect_same "$1/$file" "$2/$file"; done; }

for config in gradcam dice outliers; do
  train "$config-1" 1 "$config"
  expect_exit 0
  for file in $files; do expect_file "$config-1/$file"; done
  train "$config-3" 3 "$config" --set data.workers=2
  expect_exit 0
  expect_same_run "$config-1" "$config-3"
done
train gradcam-5 5 gradcam --set runtime.threads=2
expect_exit 0
expect_same_run gradcam-1 gradcam-5
# A batch over ranks: BatchNorm-free, so the same but for rounding; the file differs in bits.
train gradcam-data 4 gradcam --set grid.members=2 --set grid.data=2
expect_exit 0
cut -d, -f5 gradcam-1/results/images/seed-3/train.csv > total-1
cut -d, -f5 gradcam-data/results/images/seed-3/train.csv > total-data
paste -d' ' total-1 total-data | awk 'NR > 1 { d = ($1 - $2) / $1; if (d > 1e-4 || d < -1e-4) exit 1 }' || failed "totals of a split batch: $(paste total-1 total-data | tr '\n' ' ')"

# Stopped by USR1 in the middle and resumed on another split: the bytes of one that never was.
cp gradcam.toml long.toml
printf 'epochs = 30\n' >> long.toml
train whole 2 long
expect_exit 0
mkdir broken
stops=0
for round in 1 2 3 4 5 6; do
  cd broken
  "$source_dir/scripts/mpirun" $((round % 3 + 1)) "$program" train ../long.toml --quiet --set data.workers=$((round % 2)) > out 2> err &
  job=$!
  sleep 1.$((round * 3 % 10))
  kill -USR1 "$job" 2>/dev/null || true
  status=0
  wait "$job" || status=$?
  cd ..
  [ "$status" = 75 ] || break
  stops=$((stops + 1))
done
command="train, stopped by USR1 $stops times"
[ "$status" = 75 ] && train broken 2 long
expect_exit 0
expect_same_run whole broken
[ "$stops" -gt 0 ] || echo "never stopped: the machine is too fast for this test"

# ResNet with BatchNorm: members split over ranks, running statistics included; bf16.
train resnet-1 1 base --set ensemble.model=resnet18_32x32 --set data.transform=cifar10_train --set data.rows=:12 --set data.batch_size=6 --set validation.rows=12:16 --set ensemble.members=2 --set training.epochs=1
expect_exit 0
train resnet-2 2 base --set ensemble.model=resnet18_32x32 --set data.transform=cifar10_train --set data.rows=:12 --set data.batch_size=6 --set validation.rows=12:16 --set ensemble.members=2 --set training.epochs=1
expect_exit 0
expect_same_run resnet-1 resnet-2
# A step that takes long is left between the passes of networks, on all ranks though one alone gets the signal: nothing of it is kept, and the run goes on
# from the step before to the same bytes.
long_step=(--set ensemble.model=resnet18_32x32 --set data.transform=cifar10_train --set data.rows=:32 --set data.batch_size=8 --set training.accumulation=4
  --set validation.rows=32:36 --set ensemble.members=4 --set training.epochs=1)
train step-whole 1 base "${long_step[@]}"
expect_exit 0
mkdir step-broken
cd step-broken
for ranks in 1 2; do
  rm -f results/images/seed-3/heartbeat.0
  "$source_dir/scripts/mpirun" "$ranks" "$program" train ../base.toml --quiet "${long_step[@]}" > out 2> err &
  job=$!
  for _ in $(seq 600); do
    sleep 0.1
    grep -q training results/images/seed-3/heartbeat.0 2> /dev/null && break
    kill -0 "$job" 2> /dev/null || break
  done
  kill -USR1 "$(pgrep -P "$job" | tail -n 1)" || failed "no rank to stop"
  status=0
  wait "$job" || status=$?
  command="train, one of $ranks ranks stopped by USR1 in a long step"
  [ "$status" != 0 ] || failed "exit code 0: the step was not left"
  expect_text "event=step_abandoned" "next_epoch=0 next_step=0"
done
cd ..
train step-broken 2 base "${long_step[@]}"
expect_exit 0
expect_text "event=resume"
expect_same_run step-whole step-broken

train bf16 1 gradcam --set training.precision=bf16 --set training.epochs=1
expect_exit 0
expect_other bf16/results/images/seed-3/checkpoint.h5 gradcam-1/results/images/seed-3/checkpoint.h5

# Heads on one trunk: trained on one batch, evaluated, their trunk cached.
train multihead 1 base --set ensemble.model=lenet_multihead --set data.same_batch=true --set loss.gradcam.weight=0.1 --set training.epochs=1
expect_exit 0

# Augmentations are part of the pixels, so of the weights; the same for any number of workers.
train augmented-1 1 base --set rand_augment=true --set aug_mix.severity=2 --set training.epochs=1
expect_exit 0
train augmented-2 2 base --set rand_augment=true --set aug_mix.severity=2 --set training.epochs=1 --set data.workers=2
expect_exit 0
expect_same_run augmented-1 augmented-2
train plain 1 base --set training.epochs=1
expect_other augmented-1/results/images/seed-3/checkpoint.h5 plain/results/images/seed-3/checkpoint.h5

# Evaluation on pictures: the same figures for any number of ranks; a corruption made on the way is worse than none.
cat > evaluate.toml <<'TOML'
[evaluate]
predictors = ["ensemble", "mean"]
runs = ["gradcam-1/results/images/seed-3", "multihead/results/images/seed-3", "resnet-none/*"]
scores = ["average", "minmax", "energy"]
metrics = ["accuracy", "nll", "ece", "auroc"]
temperature = "optimum"
output = "evaluated"
block_rows = 32
[[evaluate.sets]]
name = "mnist"
role = "id"
dataset = "mnist"
root = "images"
rows = ":110"
[[evaluate.sets]]
name = "validation"
role = "validation"
dataset = "mnist"
root = "images"
rows = "110:"
[[evaluate.sets]]
name = "noise"
shift = "covariate"
dataset = "mnist"
root = "images"
rows = ":110"
corruption = "gaussian_noise"
severity = 5
TOML
refused 1 3 "resnet-none" -- evaluate evaluate.toml --quiet
sed -i 's/, "resnet-none[^]]*//' evaluate.toml
refused 2 2 'runtime.device: expected "cpu" or "auto", found "cuda"' -- evaluate evaluate.toml --set runtime.device=cuda
sed 's/^corruption.*/transform = "cifar10_test"/; /^severity/d' evaluate.toml > larger.toml
sed '/^corruption/d; /^severity/s/.*/as_stored = true/' evaluate.toml > stored.toml
refused 2 2 'noise: expected inputs [3, 28, 28] as in the in-distribution set, found [3, 32, 32] after its transform "cifar10_test"' -- evaluate larger.toml
refused 1 2 "evaluate.sets[2].as_stored" "expected a corruption, found none" -- evaluate stored.toml
well 1 evaluate evaluate.toml --quiet
mv evaluated evaluated-1
well 3 evaluate evaluate.toml --quiet
for file in evaluated-1/*; do expect_same "$file" "evaluated/$(basename "$file")"; done
expect_text "noise (" " accuracy" "energy "

# Scores on features read them from the cache of outputs as they were computed, also the features that all heads of a multihead network share.
sed 's#^runs = .*#runs = ["multihead/results/images/seed-3", "gradcam-1/results/images/seed-3"]#; s/^scores = .*/scores = ["knn"]/; s/^metrics = .*/metrics = ["auroc"]/; /^temperature/d' evaluate.toml > features.toml
cat >> features.toml <<'TOML'
[score.knn]
k = 5
[[evaluate.sets]]
name = "fit"
role = "fit"
dataset = "mnist"
root = "images"
rows = "110:"
TOML
well 1 evaluate features.toml --quiet --set evaluate.output=features
well 1 evaluate features.toml --quiet --set evaluate.output=features-written --set evaluate.logits_cache=f32
rm -rf multihead/results/images/seed-3/states gradcam-1/results/images/seed-3/states
well 2 evaluate features.toml --quiet --set evaluate.output=features-read --set evaluate.logits_cache=f32
# The names of result files differ, since they depend on the configuration; the rows do not.
cat features/*[0-9a-f].csv > expected
for folder in features-written features-read; do
  cat "$folder"/*[0-9a-f].csv > found
  expect_same expected found
done

# The temperature of the corrupted set from validation images with the same corruption; nothing else changes.
{ cat evaluate.toml; printf 'calibration = "noisy"\n[[evaluate.sets]]\nname = "noisy"\nrole = "calibration"\ndataset = "mnist"\nroot = "images"\nrows = "110:"\n'
  printf 'corruption = "gaussian_noise"\nseverity = 5\n'; } > calibrated.toml
well 1 evaluate calibrated.toml --quiet --set evaluate.output=calibrated
# value FOLDER SET SCORE METRIC: that row of the mean of the members of gradcam.
value() { grep ",cross_entropy+gradcam,[0-9]*,mean,$2,.*,$3,$4," "$1"/*[0-9a-f].csv | cut -d, -f15; }
for figure in "mnist temperature" "mnist" "noise"; do
  IFS=' ' read -r set score <<<"$figure"
  [ -n "$(value evaluated "$set" "$score" nll)" ] || failed "no NLL of $figure"
  [ "$(value evaluated "$set" "$score" nll)" = "$(value calibrated "$set" "$score" nll)" ] || failed "another calibration changes $figure"
done
[ "$(value evaluated noise temperature nll)" != "$(value calibrated noise temperature nll)" ] || failed "the calibration set is not read"

# Figures, differences between methods, diversity and saliency: rows and files have the same bytes for any number of ranks, and are drawn.
sed -e 's/^runs = .*/runs = ["gradcam-1\/results\/images\/seed-3", "dice-1\/results\/images\/seed-3"]/' \
  -e 's/^metrics = .*/metrics = ["accuracy", "ece_classwise", "auroc", "ccr1"]\nplots = true\ncompare = ["*"]\ndiversity = ["disagreement", "q_statistic", "pds"]\nsaliency = 5/' \
  -e 's/^output = .*/output = "figured"/' evaluate.toml > figures.toml
well 1 evaluate figures.toml --quiet
expect_text "cross_entropy+gradcam/seed-3" "cross_entropy+gradcam - " "auroc_difference average noise" "pds " "saliency_cosine" "ece_classwise" "ccr1"
mv figured figured-1
well 2 evaluate figures.toml --quiet
diff -r figured-1 figured >/dev/null || failed "one and two ranks give other files: $(diff -rq figured-1 figured | tr '\n' ' ')"
for name in saliency.h5 mnist-reliability.csv noise-roc.csv energy-histogram.csv; do expect_file "figured/figures/cross_entropy+gradcam-seed-3-$name"; done
grep -q ',cross_entropy+gradcam - .*,accuracy_difference_low,' figured/*.csv || failed "no difference in the rows"
if command -v gnuplot >/dev/null; then
  well 1 plot saliency "figured/figures/cross_entropy+gradcam-seed-3-saliency.h5" -o saliency.png
  well 1 plot roc figured/figures/*-noise-roc.csv -o roc.png
  well 1 plot reliability figured/figures/*-mnist-reliability.csv -o reliability.svg
  expect_file saliency.png roc.png reliability.svg
fi
sed -i 's/, "dice-1[^]]*//' figures.toml
refused 2 2 "evaluate.compare" "at least two methods" -- evaluate figures.toml --quiet

# What cannot be.
cd whole
refused 2 2 "loss.oe" "[unlabelled]" -- train ../base.toml --set loss.oe=true
refused 1 2 "data.batch_size" "multiple of data.samples_per_class" -- train ../base.toml --set data.sampler=class_balanced
refused 1 2 "transform" "mnist_train" -- train ../base.toml --set data.transform=mnist_trian
refused 1 2 "members" -- train ../gradcam.toml --set ensemble.members=1
refused 1 2 "data.same_batch" "multihead" -- train ../base.toml --set ensemble.model=lenet_multihead
refused 2 2 "grid.members" "multihead" -- train ../base.toml --set ensemble.model=lenet_multihead --set data.same_batch=true --set grid.members=2 --set experiment=other
refused 1 2 "kl_backward" -- train ../base.toml --set loss.kl_backward=true
refused 2 3 "../nowhere" -- train ../base.toml --set data.root=../nowhere --set experiment=other
# The weights are looked for before the images, which may take minutes.
refused 2 3 "ensemble.weights (nothere.pth): expected a safetensors or .pth file, found none" -- train ../base.toml --set data.root=../nowhere --set ensemble.weights=nothere.pth --set experiment=other
refused 1 2 "rows" "200:300" -- train ../base.toml --set data.rows=200:300 --set experiment=other
refused 1 2 "another configuration" "learning_rate" -- train ../long.toml --set optimizer.learning_rate=0.2

# SDDE's configurations: every one is understood, up to the files that are not here.
cd "$source_dir"
for config in configs/sdde/{mnist,cifar10,cifar100,imagenet200,imagenet}/{de,ncl,adp,dice,gradcam,oe,gradcam_oe}.toml; do
  cd "$work"
  refused 1 3 "no such image list" -- train "$source_dir/$config" --set runtime.device=cpu --set training.precision=f32 --set 'ensemble.weights=""' --set output=out-sdde
done
finish
