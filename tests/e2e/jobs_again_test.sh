#!/usr/bin/env bash
# jobs_again_test.sh PROGRAM: --set and --ranks for all rows of a sheet; finished rows are run anew, by `jobs again` and by whether_to_run set from 0 to 1, and the old result stays until the
# new one is there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export DISSENT_JOBS_LEASE_S=3
. "$source_dir/tests/e2e/jobs_lib.sh"

jobs_data
sed -i 's#^runs = .*#runs = ["results/six/seed-1", "results/six/seed-2"]#' evaluate.toml
sheet six.csv
sed -i '/^[cdef],/d; s/,a b c d e f cache-test,/,a b cache-test,/' six.csv
jobs() { run_program 1 jobs "$@"; }
well_jobs() { jobs "$@"; expect_exit 0; }
number_of() { stat -c %i "$1"; }

# Settings reach the rows whose configuration has the key; ranks all rows that ranks run.
refused 1 2 "--set training.epoch: expected a key of a row's configuration in six.csv (cache, evaluate, train), found none" "did you mean 'training.epochs'?" -- jobs run six.csv --set training.epoch=2
refused 1 2 "--set: expected table.key=value" -- jobs run six.csv --set training.epochs
refused 1 2 "--ranks: expected an integer >= 1, found -1" -- jobs run six.csv --ranks -1
refused 1 2 "six.csv:3: a: --set: training.epochs: expected an integer >= 1, found 0" -- jobs run six.csv --set training.epochs=0
well_jobs run six.csv --dry-run --no-cost --set training.epochs=2 --set data.dim=16 --ranks 2
expect_text "mpirun -n 2 dissent train train.toml --set 'seeds=[1]' --set training.epochs=2" "--set 'cache.output=\"train.cache\"' --set data.dim=16" "mpirun -n 2 dissent evaluate evaluate.toml"
grep -q 'evaluate.toml .*--set' out && failed "the evaluation took a key that it has not"
well_jobs run six.csv --set training.epochs=2 --ranks 1
expect_text "5 jobs: 5 done"
grep -q '"epochs": *2' results/six/seed-1/progress.json || failed "seed-1 was not trained for 2 epochs"
well_jobs status six.csv --set training.epochs=2
expect_text "5 jobs: 5 done"
well_jobs status six.csv --where name=a
expect_text "1 jobs: 1 waiting"
rm -r results ./*.cache

# Rows are run anew: what each verb wrote is there again, and not the same file; the next run finds all done.
well_jobs run six.csv
cp -r results before
csv=$(ls results/*.csv)
first=$(number_of results/six/seed-1/checkpoint.h5) second=$(number_of results/six/seed-2/checkpoint.h5)
refused 1 2 "jobs again: expected --where column=pattern" -- jobs again six.csv
well_jobs again six.csv --where name=a --dry-run --no-cost
expect_text "1 jobs"
well_jobs again six.csv --where name=a
expect_text "a: done" "table: computed from the old result of a row that is run again; this row is not run again"
expect_same before/six/seed-1/checkpoint.h5 results/six/seed-1/checkpoint.h5
[ "$(number_of results/six/seed-1/checkpoint.h5)" != "$first" ] || failed "seed-1 was not trained anew"
[ "$(number_of results/six/seed-2/checkpoint.h5)" = "$second" ] || failed "seed-2 was trained anew"
expect_no_file results/six/.again
well_jobs status six.csv --where name=table
expect_text "dependency a ran after this job started; \`jobs again --where name=table\` reruns this row"
manifest=$(number_of train.cache/manifest.toml) rows=$(number_of "$csv")
well_jobs again six.csv --where 'name=cache-train' --where 'verb=cache'
[ "$(number_of train.cache/manifest.toml)" != "$manifest" ] || failed "the cache was not written anew"
well_jobs again six.csv --where 'name=table'
[ "$(number_of "$csv")" != "$rows" ] || failed "the evaluation was not done anew"
expect_same "before/$(basename "$csv")" "$csv"
well_jobs run six.csv
expect_text "5 jobs: 5 done"
expect_no_file .again results/.again
first=$(number_of results/six/seed-1/checkpoint.h5)
well_jobs run six.csv
[ "$(number_of results/six/seed-1/checkpoint.h5)" = "$first" ] || failed "a row that was asked for again once was run twice"

# A long row is stopped in the middle: the old run is whole, the row waits; the next run goes on, and ends at the same bytes.
sheet_more more.csv
well_jobs run more.csv --where name=stop
cp -r results/more/seed-13 old
first=$(number_of results/more/seed-13/checkpoint.h5)
"$program" jobs again more.csv --where name=stop > out 2> err &
runner=$!
wait_for results/more/.again/seed-13/progress.json
well_jobs status more.csv --where name=stop
expect_text "running" "of 60"
kill -INT "$runner"
status=0
wait "$runner" || status=$?
expect_exit 75
[ "$(number_of results/more/seed-13/checkpoint.h5)" = "$first" ] || failed "the old run went before the new one was there"
expect_same old/checkpoint.h5 results/more/seed-13/checkpoint.h5
expect_file results/more/.again/seed-13/checkpoint.h5
well_jobs status more.csv --where name=stop
expect_text "cancelled"
well_jobs run more.csv --where name=stop
[ "$(number_of results/more/seed-13/checkpoint.h5)" != "$first" ] || failed "the new run did not take its place"
expect_same old/checkpoint.h5 results/more/seed-13/checkpoint.h5
expect_no_file results/more/.again
# The verb by itself: two flags that exclude each other; a folder that is no cache is not replaced.
refused 1 2 "expected one of them, found both" -- train train.toml --again --force --quiet --set experiment=six
mkdir other.cache && touch other.cache/mine
refused 1 2 "other.cache: expected a feature cache, found another file or folder" -- cache cache.toml --again --quiet --set cache.output=other.cache
expect_file other.cache/mine
# A result that no job made is asked for again too.
mv results/jobs gone
well_jobs again more.csv --where name=stop --set training.epochs=60
expect_text "stop: done"

# An imported sheet: whether_to_run is 0 and then 1 again.
printf 'name,verb,config,whether_to_run,set:experiment,set:seeds\nw,train,train.toml,1,w,[1]\n' > w.csv
well_jobs run w.csv
expect_text "1 jobs: 1 done"
first=$(number_of results/w/seed-1/checkpoint.h5)
well_jobs run w.csv
sed -i 's/train.toml,1,/train.toml,0,/' w.csv
well_jobs run w.csv
expect_text "1 jobs: 1 off"
sed -i 's/train.toml,0,/train.toml,1,/' w.csv
well_jobs status w.csv
expect_text "waiting" "marked for a rerun"
well_jobs run w.csv
expect_text "1 jobs: 1 done"
[ "$(number_of results/w/seed-1/checkpoint.h5)" != "$first" ] || failed "whether_to_run 0 and then 1 did not run the row anew"
# What status writes back has a 0 there, as the runner wrote it; a 1 in that file runs the row anew, the first sheet does not.
well_jobs status w.csv --csv back.csv
grep -q '^w,train,train.toml,0,' back.csv || failed "back.csv has no 0 for a row that is done"
well_jobs status w.csv
expect_text "1 jobs: 1 done"
sed -i 's/train.toml,0,/train.toml,1,/' back.csv
well_jobs status back.csv
expect_text "marked for a rerun"
finish
