#!/usr/bin/env bash
# cli_test.sh PROGRAM: command line and configuration. Wrong ones end with 2 and one message that says what, where, expected and found.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# The command line, said once by however many ranks.
refused 3 2 "verb: expected one of train, plan, cache, evaluate, config, inspect" "; found 'trian'; did you mean 'train'?" -- trian
refused 1 2 "unrecognised option '--froce'; did you mean '--force'?" "usage: dissent train [options] CONFIG" -- train --froce a.toml
refused 1 2 "the required argument for option '--set' is missing" -- train a.toml --set
refused 1 2 "too many positional options" "usage: dissent train [options] CONFIG" -- train a.toml b.toml
refused 1 2 "config: expected one of train, train-images" -- config trian
refused 3 2 "nothere.toml: cannot read the configuration: No such file or directory" -- train nothere.toml
run_program 1
expect_exit 2
expect_text "usage: [mpirun -n RANKS] dissent VERB [options]"
well 1 --help
expect_text "usage: [mpirun -n RANKS] dissent VERB [options]" "stopped by a signal; finished work is kept (checkpoint, shards)"
for verb in train:CONFIG plan:CONFIG cache:CONFIG evaluate:CONFIG config:VERB inspect:FILE... verify:FILE... tables:FILE... 'plot:KIND FILE...'; do
  well 1 "${verb%:*}" --help
  expect_text "usage: dissent ${verb%:*} [options] ${verb#*:}" "--help"
done
refused 1 2 "CONFIG is missing; usage: dissent train [options] CONFIG" -- train
refused 1 2 "FILE... is missing; usage: dissent verify [options] FILE..." -- verify

# What `dissent config` prints is a configuration. The errors that are left are those of keys without a usable default.
for verb in train cache evaluate; do
  well 1 config "$verb"
  mv out "$verb.toml"
done
refused 1 2 "train.toml:" "loss: expected at least one loss table, as [loss.cross_entropy]; found none" -- train train.toml
expect_text "data.train: expected the cache to train on, found nothing"
refused 1 2 "cache.output: expected a folder NAME.cache, found nothing" -- cache cache.toml
refused 1 2 "evaluate.runs: expected run folders or checkpoint files, found none" -- evaluate evaluate.toml
expect_text "evaluate.id: expected the feature cache of the in-distribution set, found nothing"
refused 1 3 "nothere.cache: no such feature cache" -- train train.toml --set data.train=nothere.cache --set loss.cross_entropy.weight=1
refused 1 3 "nothere/t10k-images-idx3-ubyte.gz: no such file" -- cache cache.toml --set cache.output=a.cache --set data.split=test --set data.root=nothere
refused 1 3 "nothere/*: expected files or folders of this name or pattern, found none" -- evaluate evaluate.toml --set 'evaluate.runs=["nothere/*"]' --set evaluate.id=nothere.cache
refused 1 2 "cache.output: expected a folder NAME.cache, found \"a\"" -- cache cache.toml --set cache.output=a --set data.dataset=mnist --set data.split=test \
  --set "data.root=$source_dir/tests/data/mnist"
expect_no_file a a.cache

# All errors of a file at once, each with its place.
cat > bad.toml <<'TOML'
experiment = 3
sedes = [1]
[data]
train = "a.cache"
batch_size = 0
[ensemble]
members = 2
active = 4
model = "mpl"
[loss.a2d]
weight = "much"
sample_weight = "hrd"
[loss.gradcam]
[optimiser]
name = "adamw"
[optimizer]
learning_rate = -1
TOML
run_program 3 train bad.toml
expect_exit 2
expect_one_error_line 'bad.toml:1:14: experiment: expected a string, found 3'
expect_text "bad.toml:2:1: sedes: unknown key; did you mean 'seeds'?" \
  'bad.toml:5:14: data.batch_size: expected an integer >= 1, found 0' \
  'bad.toml:8:10: ensemble.active: expected at most ensemble.members (2), found 4' \
  "bad.toml:9:9: ensemble.model: expected one of block_head, mlp, linear; found \"mpl\"; did you mean 'mlp'?" \
  'bad.toml:11:10: loss.a2d.weight: expected a finite number >= 0, found "much"' \
  "bad.toml:12:17: loss.a2d.sample_weight: expected one of none, hard; found \"hrd\"; did you mean 'hard'?" \
  'bad.toml:13:1: loss.gradcam: needs feature maps, which training on cached features does not have' \
  "bad.toml:14:2: optimiser: unknown table; did you mean 'optimizer'?" \
  'bad.toml:17:17: optimizer.learning_rate: expected a finite number >= 0, found -1'
count=$(grep -c 'bad\.toml:[0-9]*:[0-9]*: ' err)
[ "$count" = 10 ] || failed "$count errors of bad.toml are listed, expected 10"
expect_no_file results

# Keys that do not go together.
cat > good.toml <<'TOML'
[data]
train = "a.cache"
[ensemble]
members = 2
[loss.a2d]
TOML
# conflict MESSAGE SETTINGS...
conflict() {
  local message=$1 setting settings=()
  shift
  for setting in "$@"; do settings+=(--set "$setting"); done
  refused 1 2 "$message" -- train good.toml "${settings[@]}"
}
conflict 'loss.a2d.sample_weight: expected "none" with disagreement.below_threshold, found "hard"' loss.a2d.sample_weight=hard disagreement.below_threshold=0.5
conflict 'loss.a2d.sample_weight: "hard" needs labels: expected disagreement.on = "labelled", found "unlabelled"' loss.a2d.sample_weight=hard disagreement.on=unlabelled data.unlabelled=b.cache
conflict 'a threshold splits the labelled batch' disagreement.below_threshold=0.5 disagreement.on=unlabelled data.unlabelled=b.cache
conflict 'data.unlabelled: expected a cache, since a loss reads unlabelled rows; found nothing' disagreement.on=unlabelled
conflict 'data.unlabelled: expected none, since no loss reads unlabelled rows' data.unlabelled=b.cache
conflict 'loss.a2d: couples members: expected at least 2 active members per step, found 1' ensemble.active=1
conflict 'loss.a2d: couples members: expected at least 2 active members per step, found 1' ensemble.selection=round_robin
conflict 'optimizer.nesterov: expected false, or optimizer.name = "sgd" with a momentum above 0, found true with "adamw" and 0' optimizer.nesterov=true
conflict '--set: seeds: expected at least one seed, found none' 'seeds=[]'
conflict '--set: training.epochs: expected an integer >= 1, found "many"' training.epochs=many
conflict '--set: "training": expected table.key=value on one line' training
printf 'seeds = [1\nx = 2\n' > syntax.toml
refused 1 2 'syntax.toml:2:1: ' -- train syntax.toml
printf 'include = ["other.toml"]\n' > include.toml
refused 1 2 'include.toml:1:12: include: cannot read other.toml: No such file or directory' -- train include.toml

# What cannot be printed is an error, after all else is done; a pipe that its reader closes ends the program as it does others. dissent-compute prints the same.
compute=$(dirname "$program")/dissent-compute
[ -x "$compute" ] || compute=$(dirname "$program")/../libexec/dissent/dissent-compute
printing=("--help" "--version" "train --help" "config train" "config losses" "config exit-codes" "tables layouts")
for arguments in "${printing[@]}"; do
  for each in "$program" "$compute"; do
    [ "$each" = "$program" ] || [[ $arguments = --version || $arguments = "config losses" ]] || continue  # it takes a second to start
    command="$each $arguments > /dev/full"
    read -ra words <<< "$arguments"
    status=0
    "$each" "${words[@]}" > /dev/full 2> err || status=$?
    expect_exit 3
    expect_one_error_line "standard output: expected all text to be written, found: No space left on device"
    command="$each $arguments >&-"
    status=0
    "$each" "${words[@]}" >&- 2> err || status=$?
    expect_exit 3
    expect_one_error_line "standard output: expected all text to be written, found: Bad file descriptor"
    command="$each $arguments | true"
    { sleep 0.1; status=0; "$each" "${words[@]}" 2> err || status=$?; echo "$status" > code; } | true
    status=$(cat code)
    expect_exit 141
    [ ! -s err ] || failed "says something"
  done
done
# Errors that cannot be said keep their codes.
command="dissent train nothere.toml 2> /dev/full"
for where in '2> /dev/full' '2>&-' '> /dev/full 2>&1' '<&- >&- 2>&-'; do
  status=0
  eval "\"$program\" train nothere.toml $where" || status=$?
  expect_exit 2
done

# A value of megabytes loses its middle.
head -c 5000000 /dev/zero | tr '\0' x > long
printf 'experiment = ["%s"]\n' "$(cat long)" > long.toml
run_program 1 train long.toml
expect_exit 2
expect_text 'long.toml:1:14: experiment: expected a string, found ["xxx'
[ "$(wc -c < err)" -lt 10000 ] || failed "the message has $(wc -c < err) bytes"
printf '[data]\ntrain = "%s"\n[loss.cross_entropy]\n' "$(cat long)" > long.toml
refused 1 3 "xxx ... (" " bytes left out) ... xxx" -- train long.toml
[ "$(wc -c < err)" -lt 10000 ] || failed "the message has $(wc -c < err) bytes"

# The pages of all keys, losses, scores, metrics and exit codes are the program's.
mkdir "$work/docs"
"$source_dir/scripts/generate_docs" "$program" "$work/docs"
for page in configuration losses scores metrics exit_codes; do
  cmp -s "$work/docs/$page.md" "$source_dir/docs/$page.md" || failed "docs/$page.md is out of date: run scripts/generate_docs"
done
finish
