#!/usr/bin/env bash
# jobs_slurm_test.sh PROGRAM: sheets on a real Slurm of two nodes, which the test starts on this host (scripts/slurm_sandbox; skipped without root). Two submitters at
# once, a submitter killed between sbatch and its own record, the sheet sorted, a job requeued, one whose time is nearly over, one on two nodes that loses a rank and then a node, one
# cancelled, one with a bad path, one that Slurm has forgotten, state files deleted: status tells each as it is, submitting again finishes the rest, nothing runs
# twice, and the table is that of an undisturbed run on this machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$source_dir/tests/e2e/jobs_lib.sh"
export OMPI_MCA_btl=self,tcp # two nodes on one host
export OMPI_MCA_mpi_yield_when_idle=1 # whose cores other programs use too
unset DISSENT_HOME DISSENT_PROGRAM SLURM_CONF

export SLURM_SANDBOX_MIN_JOB_AGE=2 SLURM_SANDBOX_MAX_ARRAY_SIZE=3
slurm_here 17827
export DISSENT_JOBS_LEASE_S=6

jobs() { run_program 1 jobs "$@"; }
well_jobs() { jobs "$@"; expect_exit 0; }
id_of() { "$program" jobs status "$1" --where "name=$2" | sed -n "s/^$2 .*slurm \([0-9_]*\).*/\1/p"; }
folder_of() { dirname "$(grep -l "\"name\": \"$1\"" results/jobs/*/attempt.* | tail -n 1)"; }
# A command that fails without a word would end the test so.
trap 'printf "line %s: exit code %s: %s\n" "$LINENO" "$?" "$BASH_COMMAND"' ERR
# What has been done so far: epochs, and starts that ended.
progress() { cat results/*/seed-*/progress.json results/jobs/*/stop.* 2>/dev/null | cksum || true; }
# until_says SHEET NAME TEXT: status says so before three minutes have gone by in which no training came any further: machines are slow, and stand still at times.
until_says() {
  local before now end=$((SECONDS + 180))
  before=$(progress)
  while [ "$SECONDS" -lt "$end" ]; do
    now=$(progress)
    if [ "$now" != "$before" ]; then before=$now end=$((SECONDS + 180)); fi
    jobs status "$1" --where "name=$2"
    if grep -qF -- "$3" out; then return; fi
    sleep 0.3
  done
  failed "status of $2 does not come to say: $3; queue: $(squeue --noheader --array --states=all)"
}
in_queue() { squeue --noheader --array --format=%j | sort | uniq -c; }

jobs_data
sheet all.csv
sed -i '1s/$/,template,slurm:nodes/; 2,$s/$/,,/; s/,\[2\],3,,,/,[2],60,,nodes_mpirun,2/; s/,\[\([135]\)\],3,/,[\1],60,/' all.csv
"$program" jobs run all.csv --state whole/jobs --cores 2 > whole.txt 2>&1 || failed "the undisturbed run: $(tail -n 15 whole.txt)"
mv results/*.csv whole/table.csv
mv results whole/results
rm -r train.cache test.cache

# Row d has a bad path at first; b, c, e and f wait for their turn, on both slow and fast machines. Two submitters at once hand every job over once.
sed 's/set:cache.output/set:data.train,&/; /^[^n]/s/^\([^,]*,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*\),/\1,,/; s/^\(d,.*,3\),,/\1,nothere.cache,/; 1s/$/,slurm:begin/; 2,$s/$/,/; /^[bcef],/s/$/now+3600/' all.csv > first.csv
"$program" jobs submit first.csv --no-arrays --no-files > one.txt 2>&1 &
one=$!
jobs submit first.csv --no-arrays --no-files
expect_exit 0
status=0
wait $one || status=$?
expect_exit 0
[ "$(squeue --noheader --array | wc -l)" -le 9 ] || failed "more than nine jobs: $(in_queue)"
[ "$(cat results/jobs/*/submitted.* | sort | uniq -d | wc -l)" = 0 ] || failed "two rows have one number"
until_says first.csv cache-train 'done'

# a: requeued by hand; then its time limit is near, so that a checkpoint is written and it queues itself again. The sheet is sorted meanwhile.
wait_for results/six/seed-1/progress.json
a=$(id_of first.csv a)
scontrol requeuehold "$a"
until_says first.csv a preempted
rm -f results/six/seed-1/heartbeat.0
scontrol release "$a"
wait_for results/six/seed-1/heartbeat.0
{ grep '^name' first.csv; grep -v '^name' first.csv | sort -r; } > sorted.csv
until_says sorted.csv a 'of 60 epochs'
scancel --batch --signal=USR1 "$a"
wait_for "$(folder_of a)/stop.1.1"
grep -q 'checkpoint written' "$(folder_of a)/stop.1.1" || failed "a did not stop for its time limit: $(cat "$(folder_of a)/stop.1.1")"

# b, on both nodes: a rank is killed, and it starts again by itself; then a node goes.
scontrol update jobid="$(id_of sorted.csv b)" StartTime=now
until_says sorted.csv b 'of 60 epochs'
kill -9 "$(pgrep -f -- "$program train train.toml .*seeds=\[2\]" | tail -n 1)"
until_says sorted.csv b 'start 2, 1 failed before'
scontrol update nodename=n2 state=down reason=test
until_says sorted.csv b preempted
scontrol update nodename=n2 state=resume 2> resume.txt || true # it may have come back by itself

# c: cancelled while it runs. d: fails by its path. f: cancelled before it started, and Slurm forgets it. e: a state file is deleted while it runs.
scontrol update jobid="$(id_of sorted.csv c)" StartTime=now
until_says sorted.csv c 'of 60 epochs'
scancel "$(id_of sorted.csv c)"
until_says sorted.csv c cancelled
until_says sorted.csv d 'failed'
expect_text "exit code 3: " "nothere.cache"
forgotten=$(id_of sorted.csv f)
scancel "$forgotten"
until_says sorted.csv f "lost"
until_says sorted.csv f "job $forgotten is unknown to Slurm; never started"
scontrol update jobid="$(id_of sorted.csv e)" StartTime=now
until_says sorted.csv e 'of 60 epochs'
number=$(id_of sorted.csv e)
rm "$(folder_of e)/submitted.1" "$(folder_of e)/start.1.0"
until_says sorted.csv e "slurm $number"
expect_text running

# What is left is submitted again, d with its right path, by a submitter that is killed after sbatch has the jobs and before it has written their numbers down.
mkdir slow
# shellcheck disable=SC2016
printf '#!/bin/sh\n%s "$@"; code=$?; touch "%s/handed"; sleep 30; exit $code\n' "$(command -v sbatch)" "$work" > slow/sbatch
chmod +x slow/sbatch
PATH=$work/slow:$PATH "$program" jobs submit all.csv > killed.txt 2>&1 &
killed=$!
wait_for handed
kill -9 "$killed"
wait "$killed" 2>/dev/null || true
jobs submit all.csv
expect_exit 0
jobs submit all.csv
expect_exit 0
until_says all.csv table 'done'
jobs status all.csv --csv back.csv
expect_text "9 jobs: 9 done"
for folder in results/jobs/*-*/; do
  finished=$({ grep -l '"reason": "done"' "$folder"stop.* 2>/dev/null || true; } | wc -l)
  [ "$finished" -le 1 ] || failed "$folder ran $finished times"
done
expect_same_table whole/table.csv "$(ls results/*.csv)"
for seed in 1 2 3 4 5 6; do expect_same whole/results/six/seed-$seed/checkpoint.h5 results/six/seed-$seed/checkpoint.h5; done
squeue --noheader | grep -q . && failed "jobs are left: $(squeue)"

# Seven equal rows where an array has three at most: three arrays, with names that a person reads, and a table after all of them. A row that fails, and one that waits for it.
cat > array.csv <<'CSV'
name,verb,config,set:experiment,set:seeds,set:training.epochs,set:data.train,after,slurm:signal,slurm:begin
m,train,train.toml,array,[{51..57}],1,,,300,now+10
bad,train,train.toml,array,[60],1,nothere.cache,,,
dependent,train,train.toml,array,[61],1,,bad,,
next,train,train.toml,array,[62],1,,dependent,,
all,inspect,results/array/seed-57,,,,,m,,
CSV
jobs submit array.csv --no-files
[ "$status" = 0 ] || expect_exit 5 # `bad` has failed before the last one is submitted
squeue --noheader --array --states=all --format='%j %k' > names.txt
for name in array:m-51+2 array:m-54+2 array:m-57 array:all; do grep -q "^$name dissent-" names.txt || failed "squeue has no $name: $(cat names.txt)"; done
[ "$(for i in 51 52 53 54 55 56 57; do sed 's/_.*//; s/"//g' "$(folder_of "m-$i")/submitted.1"; done | sort -u | wc -l)" = 3 ] || failed "not three arrays: $(cat names.txt)"
until_says array.csv 'm-*' '7 jobs: 7 done'
until_says array.csv all 'done'
until_says array.csv next "not started: \`bad\` failed"
jobs status array.csv --where name=dependent
expect_text "cancelled" "not started: \`bad\` failed"
jobs status array.csv --where name=bad
expect_text "exit code 3: " "nothere.cache" "; log: results/jobs/train-"

# An array of packs and of equal rows; a job that sbatch refuses is said to be so.
printf 'name,verb,config,set:experiment,set:seeds,set:training.epochs\nok,train,train.toml,pack,[{31..35}],2\n' > pack.csv
well_jobs submit pack.csv --pack 2
expect_text "submitted in pack-"
until_says pack.csv 'ok*' '5 jobs: 5 done'
jobs status pack.csv --csv packed.csv
python3 - <<'PYTHON' || failed "rows of a pack without place, host or walltime: $(cat packed.csv)"
import csv
rows = list(csv.DictReader(open("packed.csv")))
assert len(rows) == 5 and all(r["where"].startswith("in pack-") and " on " in r["where"] and float(r["walltime_s"]) > 0 for r in rows), rows
PYTHON
printf 'name,verb,config,set:experiment,set:seeds,set:training.epochs,slurm:partition\nno,train,train.toml,refused,[1],1,nothere\n' > refused.csv
jobs submit refused.csv
expect_exit 5
expect_text "sbatch refused the job"
jobs status refused.csv
expect_text "failed" "sbatch refused the job"
finish
