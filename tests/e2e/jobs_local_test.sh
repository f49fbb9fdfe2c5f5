#!/usr/bin/env bash
# jobs_local_test.sh PROGRAM: sheets run on this machine. Checks before anything starts, order, slots, states after kills and deletions, two runners at once, packs, replay; and that the
# cells of a sheet are never shell text.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export DISSENT_JOBS_LEASE_S=3
. "$source_dir/tests/e2e/jobs_lib.sh"

jobs_data
sheet six.csv
jobs() { run_program 1 jobs "$@"; }
well_jobs() { jobs "$@"; expect_exit 0; }

# Everything is checked first, and nothing starts.
sed 's/set:training.epochs/set:training.epoch/' six.csv > bad.csv
jobs run bad.csv
expect_exit 2
expect_text "bad.csv:3: a: --set: training.epoch: unknown key" "did you mean"
sed 's/,cache-train,\[2\]/,cache-tran,[2]/' six.csv > bad.csv
jobs run bad.csv
expect_exit 2
expect_text "after: expected the name of a row, found 'cache-tran'; did you mean 'cache-train'?"
expect_no_file results train.cache

# A dry run shows commands, costs where plan knows them, and starts nothing.
well_jobs run six.csv --dry-run --where 'name=[ab]'
expect_text "a  (train-" "--set training.epochs=3" "after cache-train" "unknown: " "2 jobs" "2 ranks x 1 threads, grid 1 x 2 x 1 (runs x members x data)"
well_jobs run six.csv --dry-run --no-cost --where 'name=b' --ranks 2 --set grid.members=1 --set grid.data=2
expect_text "2 ranks x 1 threads, grid 1 x 1 x 2 (runs x members x data)"
expect_no_file results train.cache

# The undisturbed run: caches, trainings, the table. A second call finds all done and runs nothing.
well_jobs run six.csv --state whole/jobs --cores 2
expect_text "9 jobs: 9 done"
expect_file results/six/seed-{1,2,3,4,5,6}/checkpoint.h5 "$(ls results/*.csv)"
mv results/*.csv whole/table.csv
mv results whole/results
rm -r train.cache test.cache

# Kill the runner: what it started goes on; a second runner takes over, a third at the same time doubles nothing.
"$program" jobs run six.csv --cores 2 > first.out 2>&1 &
first=$!
for _ in $(seq 200); do [ -e results/six/seed-1/heartbeat.0 ] && break; sleep 0.05; done
kill -9 "$first"
wait "$first" 2>/dev/null || true
{ grep '^name' six.csv; grep -v '^name' six.csv | sort -r; } > sorted.csv # the sheet, sorted another way and with a row more
printf 'g,train,train.toml,1,cache-train,[7],3,\n' >> sorted.csv
"$program" jobs run sorted.csv --cores 2 > second.out 2>&1 &
second=$!
jobs run six.csv --cores 2
expect_exit 0
status=0
wait "$second" || status=$?
expect_exit 0
expect_one_start_each results/jobs
expect_same_table whole/table.csv "$(ls results/*.csv)"
for seed in 1 2 3 4 5 6; do expect_same whole/results/six/seed-$seed/checkpoint.h5 results/six/seed-$seed/checkpoint.h5; done
well_jobs status sorted.csv --csv back.csv
expect_text "10 jobs: 10 done"
grep -q '^a,train,.*,done,' back.csv || failed "back.csv does not say that a is done"
well_jobs status back.csv
expect_text "10 jobs: 10 done"

# States: a bad path, a killed rank (started again by itself), a killed program and its launcher, a deleted file.
sheet_more more.csv
refused 1 3 "more.csv:5: bad: --set: data.train: nothere.cache does not exist, and no earlier row (column after) writes it" -- jobs run more.csv --cores 2 --where name=bad
jobs run more.csv --cores 2 --where name=bad --no-files
expect_exit 5
expect_text "failed: exit code 3:" "nothere.cache" "; log: results/jobs/train-"
# Who waits for it says so, at any distance.
printf 'name,verb,config,set:experiment,set:seeds,set:data.train,after\nbad,train,train.toml,more,[14],nothere.cache,\nmid,train,train.toml,more,[15],,bad\nlast,train,train.toml,more,[16],,mid\n' > chain.csv
jobs run chain.csv --no-files
expect_exit 5
expect_text "mid: not started: \`bad\` failed" "last: not started: \`bad\` failed"
well_jobs status chain.csv --where name=last
expect_text "waiting" "not started: \`bad\` failed"
"$program" jobs run more.csv --cores 2 --where 'name=long*' > out 2> err &
runner=$!
wait_for results/more/seed-11/progress.json
kill -9 "$(pgrep -f -- "$program train train.toml .*seeds=\[11\]" | tail -n 1)"
wait "$runner" || status=$?
expect_text "long1: done" "long2: done"
grep -l '"reason": "failed"' results/jobs/*/stop.1.0 > /dev/null || failed "no start of long1 is written down as failed"
[ "$(find results/jobs -name start.1.1 | wc -l)" = 1 ] || failed "the killed rank was not started again once"
# Deleting any state file of a job that is done changes nothing.
folder=$(dirname "$(ls -d results/jobs/*/start.1.1)")
for file in attempt.1 beat.1 stop.1.1; do
  cp "$folder/$file" saved
  rm "$folder/$file"
  well_jobs status more.csv --where name=long1
  expect_text "1 jobs: 1 done"
  cp saved "$folder/$file"
done
# The whole state is deleted: the run's folder shows what is done.
mv results/jobs gone
well_jobs status more.csv --where 'name=long*'
expect_text "2 jobs: 2 done" "finished according to the run folder"
mv gone results/jobs

# Stop the runner: checkpoints are written, the rest goes on from there to the same bytes.
"$program" jobs run more.csv --cores 2 --where name=stop > out 2> err &
runner=$!
wait_for results/more/seed-13/progress.json
kill -INT "$runner"
status=0
wait "$runner" || status=$?
expect_exit 75
expect_text "stop: cancelled: checkpoint written"
well_jobs status more.csv --where name=stop
expect_text "cancelled"
well_jobs run more.csv --where name=stop
well 1 train train.toml --quiet --set 'seeds=[13]' --set training.epochs=60 --set experiment=more --set output=plain
expect_same plain/more/seed-13/checkpoint.h5 results/more/seed-13/checkpoint.h5

# Cells stay data: substitutions, newlines, quotes.
cat > cells.csv <<'CSV'
name,verb,config,after,set:experiment,set:seeds
dollar,train,train.toml,,$(touch x),[1]
tick,train,train.toml,,`touch x`;touch y,[1]
lines,train,train.toml,,"two
lines; touch x",[1]
quote,train,train.toml,,"'""; touch x #",[1]
CSV
well_jobs run cells.csv
expect_no_file x y
# shellcheck disable=SC2016
expect_file 'results/$(touch x)/seed-1/checkpoint.h5' 'results/`touch x`;touch y/seed-1/checkpoint.h5' $'results/two\nlines; touch x/seed-1/checkpoint.h5' "results/'\"; touch x #/seed-1/checkpoint.h5"

# Many small runs in one MPI job: a failing one is written down, its ranks take the next. Then the job is stopped and goes on.
printf 'name,verb,config,set:experiment,set:seeds,set:data.train,set:training.epochs\nok,train,train.toml,pack,[{31..36}],,2\nbad,train,train.toml,pack,[40],nothere.cache,2\n' > pack.csv
jobs run pack.csv --pack 2 --no-files
expect_exit 5
expect_text "6 done, 1 failed" "nothere.cache"
[ "$(find results/jobs -path '*/pack-*/start.*' | wc -l)" = 1 ] || failed "not one MPI job"
well 1 train train.toml --quiet --set 'seeds=[33]' --set training.epochs=2 --set experiment=pack --set output=plain
expect_same plain/pack/seed-33/checkpoint.h5 results/pack/seed-33/checkpoint.h5

# Replay: the same bits; another seed is not the same, and what differs is named.
well 1 replay results/six/seed-1
expect_text "bit for bit" "identical"
sed -i s/threads_per_rank/threads_a_rank/ results/six/seed-1/provenance.json  # as earlier versions wrote it
well 1 replay results/six/seed-1 --ranks 2
expect_text "identical"
run_program 1 replay results/six/seed-1 --set 'optimizer.learning_rate=2e-3'
expect_exit 5
expect_text "configuration:" "members/" "train.csv: epoch 0, total:" "differences"
expect_no_file results/six/seed-1/replay

# A launcher that ends with 0 although its ranks were stopped: the row is not done. One that passes no variables on is believed, but not of a training
# whose folder says otherwise; one whose ranks were killed before their end, or that hides their exit code, is not believed of any verb.
mkdir lying
lying() { # lying NAME COMMANDS: rows of sheet NAME.csv, with an mpirun of these commands
  printf '#!/bin/sh\n%s\n' "$2" > lying/mpirun
  chmod +x lying/mpirun
  PATH=$work/lying:$honest jobs run "$1.csv"
}
honest=$PATH
printf 'name,verb,config,ranks,set:experiment,set:seeds,retries\nearly,train,train.toml,2,early,[1],0\n' > early.csv
lying early 'exit 0'
expect_exit 5
expect_text "early: failed: exit code 4: the launcher ended with exit code 0, but the program did not finish"
printf 'name,verb,config,ranks,retries,set:cache.output\nkilled,cache,cache.toml,2,0,killed.cache\n' > killed.csv
printf 'name,verb,config,ranks,retries,set:evaluate.id\nkilled,evaluate,evaluate.toml,2,0,train.cache\n' > killed_too.csv
for sheet in killed killed_too; do
  # shellcheck disable=SC2016
  lying $sheet 'echo running > "$DISSENT_EXIT_RECORD"'
  expect_exit 5
  expect_text "killed: failed: exit code 4: the launcher ended with exit code 0, but the program did not finish"
  # shellcheck disable=SC2016
  lying $sheet 'PATH='"$honest"'; mpirun "$@"; echo 75 > "$DISSENT_EXIT_RECORD"'
  expect_exit 5
  expect_text "killed: cancelled: stopped by a signal"
done
well_jobs run killed.csv
expect_text "1 jobs: 1 done"

# The program's part: its first rank's word, on one rank and on two.
for ranks in 1 2; do
  DISSENT_EXIT_RECORD=$work/said well $ranks inspect train.cache
  [ "$(cat said)" = 0 ] || failed "the exit record of a good end on $ranks ranks says $(cat said)"
  DISSENT_EXIT_RECORD=$work/said run_program $ranks train train.toml --set data.train=nothere.cache
  [ "$(cat said)" = "$status" ] || failed "the exit record says $(cat said) of exit code $status on $ranks ranks"
done
finish
