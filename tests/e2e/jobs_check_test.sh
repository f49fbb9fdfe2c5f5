#!/usr/bin/env bash
# jobs_check_test.sh PROGRAM: every row of a sheet is checked as its verb does before it begins, and nothing starts if one is refused. Each verb's row is broken in one thing after the other;
# `dissent jobs run` names sheet, line, row, key and what is wrong, as the verb itself does. Files of rows before are no error.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$source_dir/tests/e2e/jobs_lib.sh"

jobs_data
image_set images 40 28
cat > images.toml <<TOML
experiment = "images"
[data]
kind = "images"
dataset = "mnist"
root = "images"
split = "test"
transform = "mnist_train"
batch_size = 20
[ensemble]
members = 2
model = "lenet"
[loss.cross_entropy]
[validation]
split = "test"
TOML
cat > pictures.toml <<'TOML'
[evaluate]
runs = ["results/images/seed-42/best.h5"]
output = "results/rows"
[[evaluate.sets]]
name = "id"
role = "id"
dataset = "mnist"
root = "images"
[[evaluate.sets]]
name = "fog"
shift = "covariate"
dataset = "mnist"
root = "images"
corruption = "fog"
TOML
cat > frozen.toml <<'TOML'
[cache]
output = "lenet.cache"
[trunk]
model = "lenet"
weights = "results/images/seed-42"
member = 0
[data]
dataset = "mnist"
root = "images"
split = "test"
transform = "mnist_test"
TOML
cat > all.csv <<'CSV'
name,verb,config,after,arguments,set:cache.output
cache-train,cache,cache.toml,,,train.cache
cache-test,cache,cache.toml,,,test.cache
heads,train,train.toml,cache-train,,
heads-table,evaluate,heads.toml,heads cache-test,,
images,train,images.toml,,,
frozen,cache,frozen.toml,images,,
pictures,evaluate,pictures.toml,images,,
table,tables,,pictures heads-table,"[""--rows"", ""experiment,predictor"", ""--columns"", ""dataset,metric"", ""--score"", ""msp"", ""--output"", ""table.md"", ""results/rows""]",
weights,export,,images,"[""results/images/seed-42"", ""--output"", ""exported""]",
list,imglist,,,"[""folders"", ""--label"", ""-1"", ""--output"", ""list.txt""]",
curves,plot,,images,"[""curves"", ""results/images/seed-42"", ""--output"", ""curves.png""]",
CSV
sed 's#^runs = .*#runs = ["results/six/seed-*"]\noutput = "results/rows"#; /evaluate.sets/,$d' evaluate.toml > heads.toml
mkdir -p folders/a
cp "$source_dir"/tests/data/images/*.png folders/a/ 2>/dev/null || find "$source_dir/tests/data" -name '*.jpg' -o -name '*.png' | head -n 1 | xargs -I{} cp {} folders/a/

run_program 1 jobs run all.csv --dry-run --no-cost
expect_exit 0
expect_text "11 jobs"
expect_no_file results train.cache
refused 1 2 "--where verb=trian: expected a matching row in all.csv, found none" -- jobs run all.csv --where verb=trian
# Columns of one's own are no misspelt ones.
sed 's/experiment,predictor/experiment,k,training_set,validation/' all.csv > own.csv
run_program 1 jobs run own.csv --dry-run --no-cost --where name=table
expect_exit 0
# What `status` shows is not checked unless it is asked to.
run_program 1 jobs status all.csv --dry-run --no-cost
expect_exit 0

# says CODE TEXT... -- FILE EXPRESSION: with this line of a file changed the sheet is refused with the texts, from any verb of jobs, and nothing starts.
says() {
  local code=$1 texts=() file
  shift
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  file=$2
  cp "$file" kept
  sed -i "$3" "$file"
  cmp -s "$file" kept && failed "$file: $3 changes nothing"
  run_program 1 jobs run all.csv --dry-run --no-cost
  expect_exit "$code"
  expect_text "${texts[@]}"
  run_program 1 jobs run all.csv
  expect_exit "$code"
  expect_text "${texts[@]}"
  expect_no_file results train.cache test.cache lenet.cache table.md exported list.txt
  cp kept "$file"
}
# Caching.
says 2 "all.csv:2: cache-train (and cache-test): dataset: expected one of " -- cache.toml 's/"synthetic"/"imagenet"/'
says 2 "all.csv:2: cache-train (and cache-test): trunk.model: expected \"none\", since the set has features (data.dataset = \"synthetic\"), found \"pixels\"" -- cache.toml 's/"none"/"pixels"/'
says 2 "cache-train (and cache-test): trunk.model: expected a network, since corruption or trunk.weights is set" -- cache.toml 's/^model = .*/&\nweights = "x.pth"/'
says 2 "frozen: data.transform: expected the transform to inputs of lenet, found \"none\"" -- frozen.toml '/^transform/d'
says 2 "frozen: trunk.weights: expected the weights of lenet" -- frozen.toml '/^weights/d; /^member/d'
says 2 "frozen: data.split: expected one of train, test (dataset mnist), found 'val'" -- frozen.toml 's/^split = .*/split = "val"/'
says 2 "frozen: cache.passes: expected 1, found 2" -- frozen.toml 's/^output = .*/&\npasses = 2/'
says 2 "frozen: frozen.toml:2:10: cache.output: expected a folder NAME.cache" -- frozen.toml 's/lenet.cache/lenet.hdf5/'
says 3 "all.csv:7: frozen: frozen.toml:5:11: trunk.weights: results/other/seed-42 does not exist, and no earlier row (column after) writes it" -- frozen.toml 's#results/images#results/other#'
says 3 "frozen: frozen.toml:9:8: data.root: nowhere does not exist" "give the folder that holds the four files of MNIST" -- frozen.toml 's#root = "images"#root = "nowhere"#'
# Training.
says 2 "all.csv:4: heads: train.toml:7:9: ensemble.model: expected one of" -- train.toml 's/"mlp"/"mpl"/'
says 2 "heads: grid: expected runs x members x data" -- train.toml 's/^\[data\]/[grid]\ndata = 3\n[data]/'
says 3 "all.csv:4: heads: train.toml:3:9: data.train: trian.cache does not exist" -- train.toml 's/train.cache/trian.cache/'
says 3 "heads: train.toml:4:14: data.validation: test.cache does not exist; 'cache-test' writes it, but this row does not run after it (column after)" -- train.toml 's/^train = .*/&\nvalidation = "test.cache"/'
says 3 "images: images.toml:" "ensemble.weights: resnet.pth does not exist" -- images.toml 's/^model = .*/&\nweights = "resnet.pth"/'
says 2 "images: data.split: expected one of train, test (dataset mnist), found 'tset'" -- images.toml '0,/split = "test"/s//split = "tset"/'
# Evaluation.
says 2 "all.csv:5: heads-table: heads.toml:" "evaluate.predictors: \"best\": expected evaluate.validation, on which it is chosen, found none" -- heads.toml 's/^output = .*/&\npredictors = ["best"]/'
says 2 "evaluate.scores[0]: expected one of" "did you mean 'msp'" -- heads.toml 's/^output = .*/&\nscores = ["mspp"]/'
says 2 "evaluate.metrics[0]: expected one of" -- heads.toml 's/^output = .*/&\nmetrics = ["acuracy"]/'
says 3 "heads-table: heads.toml:" "evaluate.runs: results/sixx/seed-* does not exist" -- heads.toml 's#results/six/#results/sixx/#'
says 3 "evaluate.id: other.cache does not exist" -- heads.toml 's/test.cache/other.cache/'
says 2 "pictures: dataset: expected one of " -- pictures.toml '0,/"mnist"/s//"mnits"/'
says 2 "pictures: pictures.toml:4:13: evaluate.transform: expected one of" -- pictures.toml 's/^output = .*/&\ntransform = "mnist_tset"/'
says 3 "pictures: pictures.toml:" "evaluate.sets[1].list: fog.txt does not exist" -- pictures.toml 's/^dataset = "mnist"$/&/; /^name = "fog"/s/$/\nlist = "fog.txt"/'
says 2 "heads-table: heads.toml:" "evaluate.saliency: expected an in-distribution set of images, found a cache" -- heads.toml 's/^output = .*/&\nsaliency = 4/'
# Of runs that are to come their configuration says what they will be.
says 2 "heads-table: evaluate.weights: expected 4 values, one per member of results/six/seed-42, found 2" -- heads.toml 's/^output = .*/&\nweights = [1.0, 1.0]/'
says 2 "heads-table: evaluate.sets: expected feature caches (paths) for results/six/seed-42" -- heads.toml '$a[[evaluate.sets]]\nname = "p"\ndataset = "mnist"\nroot = "images"'
says 2 "pictures: evaluate.sets: expected images (dataset or list) for results/images/seed-42" -- pictures.toml '$a[[evaluate.sets]]\nname = "c"\npaths = ["train.cache"]'
# Without a validation set there is no best.h5.
says 3 "evaluate.runs: results/images/seed-42/best.h5 does not exist" -- images.toml '/^\[validation\]/,$d'
# Verbs without a configuration.
says 2 "all.csv:9: table: unrecognised option '--layot'; did you mean '--layout'?" -- all.csv 's/""--rows"", ""experiment,predictor""/""--layot"", ""x""/'
says 2 "table: layout: expected one of" "found 'sedd'" -- all.csv 's/""--rows"", ""experiment,predictor"", ""--columns"", ""dataset,metric""/""--layout"", ""sedd""/'
says 2 "table: --format: expected csv, markdown or latex, found 'html'" -- all.csv 's/""--rows"", ""experiment,predictor""/""--format"", ""html"", &/'
says 2 "table: --rows: expected a column of result files, found 'predictr'; did you mean 'predictor'?" -- all.csv 's/experiment,predictor/experiment,predictr/'
says 2 "table: --where: expected a column of result files, found 'datset'; did you mean 'dataset'?" -- all.csv 's/""--score"", ""msp""/""--where"", ""datset=id""/'
says 3 "table: FILE: results/row does not exist" -- all.csv 's#results/rows#results/row#'
says 2 "weights: --output: expected a folder to write into, found none" -- all.csv 's/, ""--output"", ""exported""//'
says 3 "weights: RUN: results/images/seed-41 does not exist" -- all.csv 's#""results/images/seed-42"", ""--output"", ""exported""#""results/images/seed-41"", ""--output"", ""exported""#'
says 3 "list: FOLDER: flders does not exist" -- all.csv 's/""folders""/""flders""/'
says 2 "curves: plot: kind: expected one of" -- all.csv 's/""curves"", ""res/""curve"", ""res/'
says 2 "list: config: expected one of train, train-images, cache, evaluate, losses, scores, metrics, exit-codes" -- all.csv 's/^list,imglist.*/list,config,,,"[""exitcodes""]",/'
printf 'name,verb,arguments\ncodes,config,"[""exit-codes""]"\n' > codes.csv
run_program 1 jobs run codes.csv --dry-run --no-cost
expect_exit 0
# Two rows that write one place.
says 2 "all.csv:3: 'cache-test' writes train.cache, as 'cache-train' of line 2 does" -- all.csv 's/,test.cache$/,.\/train.cache/; s/cache-test,cache,cache.toml,,,/cache-test,cache,frozen.toml,images,,/'
# All of a sheet at once, and without files what they would be refused for is not looked at.
sed 's/train.cache/a.cache/' train.toml > kept-train && cp train.toml kept && cp kept-train train.toml
sed 's/exported/exported/; s#results/rows#results/row#' all.csv > two.csv
run_program 1 jobs run two.csv --dry-run --no-cost
expect_exit 3
expect_text "two.csv:4: heads: " "two.csv:9: table: " "11 jobs"
run_program 1 jobs run two.csv --dry-run --no-cost --no-files
expect_exit 0
cp kept train.toml

# What is there is opened: a damaged cache, one of another dimension, labels beyond the run's classes; rows that are done are left alone.
run_program 1 jobs run all.csv
expect_exit 0
expect_text "11 jobs: 11 done"
run_program 1 jobs run all.csv
expect_exit 0
rm -r folders
run_program 1 jobs run all.csv
expect_exit 0
run_program 1 jobs again all.csv --where name=list
expect_exit 3
expect_text "all.csv:11: list: FOLDER: folders does not exist"
expect_file list.txt
damage train.cache/manifest.toml 0 'xx'
run_program 1 jobs again all.csv --where name=heads
expect_exit 3
expect_text "all.csv:4: heads: train.toml:3:9: data.train:" "manifest.toml"
rm -r train.cache
run_program 1 jobs again all.csv --where name=heads
expect_exit 3
expect_text "data.train: train.cache does not exist; 'cache-train' wrote it and is done: jobs again --where name=cache-train writes it again"
run_program 1 jobs run all.csv --set data.dim=16 --where 'name=cache-*'
expect_exit 2
expect_text "all.csv:3: cache-test: --set: cache.output: test.cache: expected a cache of this configuration, found another one (data.dim: 32 in the file, 16 in this configuration); choose another name"
well 1 cache cache.toml --quiet --set data.dim=16 --set cache.output=train.cache
sed -i 's/test.cache/train.cache/' heads.toml
run_program 1 jobs run all.csv --where name=heads-table
expect_exit 3
expect_text "all.csv:5: heads-table: train.cache: expected 32 features per row, as in the training of results/six/seed-42/checkpoint.h5, found 16"
finish
