#!/usr/bin/env bash
# options_test.sh PROGRAM: what may be chosen in training and evaluation runs, and changes what comes out.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 300 14
image_set later 100 14 300
cache 1 train images
cache 1 test later
cache 1 unknown later data.labels=false
cat > train.toml <<'TOML'
experiment = "plain"
[data]
train = "train.cache"
batch_size = 50
[ensemble]
members = 3
model = "mlp"
hidden = 16
[loss.cross_entropy]
[training]
epochs = 3
TOML

# trained NAME SETTINGS...: a run whose weights differ from those of every run before.
trained_runs=()
trained() {
  local name=$1 setting settings=() other
  shift
  for setting in "$@"; do settings+=(--set "$setting"); done
  well 2 train train.toml --quiet --set "experiment=$name" "${settings[@]}"
  tail -n +2 "results/$name/seed-42/train.csv" > "$name.csv"
  for other in "${trained_runs[@]}"; do expect_other "$other.csv" "$name.csv"; done
  trained_runs+=("$name")
}
seq 0 99 > list.txt
trained plain
trained subset data.subset=list.txt
expect_text "event=data rows_per_pass=100"
trained complement data.subset=list.txt data.subset_complement=true
expect_text "event=data rows_per_pass=200"
trained round_robin 'ensemble.selection="round_robin"'
trained drawn ensemble.active=2
trained experts 'loss.cross_entropy.output="product_of_experts"'
trained divdis loss.divdis.weight=1.0
trained unlabelled loss.divdis.weight=1.0 'disagreement.on="unlabelled"' data.unlabelled=unknown.cache
trained threshold loss.a2d.weight=1.0 disagreement.below_threshold=0.5
trained linear 'ensemble.model="linear"'

cat > evaluate.toml <<'TOML'
[evaluate]
runs = ["results/plain/*"]
id = "test.cache"
output = "figures"
scores = ["msp", "pds"]
[[evaluate.sets]]
name = "train"
shift = "covariate"
paths = ["train.cache"]
TOML
# evaluated NAME PATTERN SETTINGS...: figures in NAME.txt, those rows that match the pattern, without names of runs.
evaluated() {
  local name=$1 pattern=$2 setting settings=()
  shift 2
  for setting in "$@"; do settings+=(--set "$setting"); done
  rm -rf figures
  well 2 evaluate evaluate.toml --quiet "${settings[@]}"
  cut -d, -f4,6- figures/*.csv | grep -E "$pattern" > "$name.txt" || failed "no row of $name matches $pattern"
}
evaluated equal ',ensemble,'
evaluated weights ',ensemble,' 'evaluate.weights=[1.0, 0.0, 0.0]'
evaluated first ',member:0,' 'evaluate.predictors=["members"]'
expect_other equal.txt weights.txt
# All weight on one member gives that member's accuracy.
for set in test train; do
  ours=$(grep "^[^,]*,[^,]*,ensemble,$set,.*accuracy" weights.txt | rev | cut -d, -f2 | rev)
  one=$(grep "^[^,]*,[^,]*,member:0,$set,.*accuracy" first.txt | rev | cut -d, -f2 | rev)
  [ "$ours" = "$one" ] || failed "with all weight on member 0 the accuracy on $set is $ours, that of the member $one"
done
# The mean of log-probabilities and that of logits order classes in the same way; the mean of probabilities need not.
evaluated experts ',ensemble,.*accuracy' 'evaluate.combine="product_of_experts"'
evaluated probabilities ',ensemble,.*accuracy' 'evaluate.combine="mean_probabilities"'
grep accuracy equal.txt > logits.txt
expect_same logits.txt experts.txt
evaluated sed ',ensemble,.*auroc,sed,' 'evaluate.convention="sed"'
evaluated patterns ',ensemble,' 'evaluate.runs=["results/plain/*", "results/drawn/seed-42/checkpoint.h5"]'
[ "$(wc -l < patterns.txt)" = "$((2 * $(wc -l < equal.txt)))" ] || failed "two runs do not give twice the rows of one"
finish
