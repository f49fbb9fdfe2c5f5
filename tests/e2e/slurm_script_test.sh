#!/usr/bin/env bash
# slurm_script_test.sh PROGRAM: the batch scripts in slurm/, with stand-ins for sbatch, scontrol and srun. A job that gets USR1 is queued again and then
# goes on to the bytes of one that was never stopped; one that fails, is cancelled or was queued again too often is not.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

for script in "$source_dir"/slurm/*; do bash -n "$script" || failed "$script is no shell script"; done
if command -v shellcheck > /dev/null; then (cd "$source_dir" && shellcheck -x slurm/*.sbatch slurm/*.sh slurm/submit) || failed "shellcheck complains"; fi
for script in "$source_dir"/slurm/*.sbatch; do
  command=$script
  for line in --signal=B:USR1@120 --requeue --open-mode=append --cpus-per-task= --time=; do grep -q "^#SBATCH $line" "$script" || failed "no #SBATCH $line"; done
done

# Stand-ins. srun starts as many ranks as the job has, as Slurm would.
mkdir stubs
printf '#!/usr/bin/env bash\necho "scontrol $*" >> "%s/calls"\n' "$work" > stubs/scontrol
printf '#!/usr/bin/env bash\necho "sbatch $* account=$SBATCH_ACCOUNT home=$DISSENT_HOME" >> "%s/calls"\n' "$work" > stubs/sbatch
cat > stubs/srun <<SCRIPT
#!/usr/bin/env bash
echo "srun \$1 cpus=\$SRUN_CPUS_PER_TASK" >> "$work/calls"
while [[ \$1 == -* ]]; do shift; done
exec "$source_dir/scripts/mpirun" "\$SLURM_NTASKS" "\$@"
SCRIPT
chmod +x stubs/*
export PATH=$work/stubs:$PATH
sed 's/^# export SBATCH_ACCOUNT=.*/export SBATCH_ACCOUNT=acc/; s/^MPIRUN_OPTIONS=.*/MPIRUN_OPTIONS=(--oversubscribe --bind-to none)/' "$source_dir/slurm/site.sh" > site.sh
export DISSENT_SITE=$work/site.sh DISSENT_PROGRAM=$program SLURM_SUBMIT_DIR=$source_dir SLURM_JOB_ID=77 SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=1
unset DISSENT_HOME SLURM_RESTART_COUNT

image_set images 600 10
cache 1 train images
cat > train.toml <<'TOML'
experiment = "batch"
seeds = [42]
[data]
train = "train.cache"
batch_size = 8
[ensemble]
members = 4
model = "mlp"
hidden = 128
[loss.cross_entropy]
[training]
epochs = 30
TOML
well 2 train train.toml --quiet --set output=whole
run=results/batch/seed-42
calls() { [ "$(cat calls 2>/dev/null)" = "$1" ] || failed "calls: $(cat calls 2>/dev/null), expected: $1"; }
state() { grep -q "\"state\": \"$1\"" $run/provenance.json || failed "provenance.json does not say $1"; }

# job SCRIPT SIGNAL ARGS...: runs the script; sends it the signal, if any, once the training is under way.
job() {
  local script=$1 signal=$2
  shift 2
  command="$script.sbatch $* ($signal)"
  rm -f calls $run/heartbeat.*
  "$source_dir/slurm/$script.sbatch" "$@" > out 2> err &
  local job=$!
  if [ -n "$signal" ]; then
    for _ in $(seq 1000); do sleep 0.02; [ ! -s $run/heartbeat.0 ] && kill -0 "$job" 2>/dev/null || break; done
    kill "-$signal" "$job" || true
  fi
  status=0
  wait "$job" || status=$?
}

# Through mpirun: stopped and queued again, then finished.
job one_node USR1 train train.toml --quiet
expect_exit 0
expect_text "slurm job 77: the time limit is near; requesting \`train\` to stop" "event=checkpoint" "threads_per_rank=1" "ranks=2"
calls "scontrol requeue 77"
state stopped
SLURM_RESTART_COUNT=1 job one_node '' train train.toml --quiet
expect_exit 0
expect_text "event=resume"
calls ""
state finished
for file in checkpoint.h5 train.csv; do expect_same $run/$file whole/batch/seed-42/$file; done

# Through srun; queued again once too often; cancelled.
rm -r results
job nodes_srun USR1 train train.toml --quiet
expect_exit 0
calls "srun --mpi=pmix cpus=1
scontrol requeue 77"
export SLURM_RESTART_COUNT=3 DISSENT_MAX_RESTARTS=3
job one_node USR1 train train.toml --quiet
expect_exit 75
expect_text "requeued 3 times already"
calls ""
unset SLURM_RESTART_COUNT DISSENT_MAX_RESTARTS
job one_node TERM train train.toml --quiet
expect_exit 75
calls ""
state stopped
job gpu_node '' train train.toml --quiet
expect_exit 0
expect_text "event=resume"
for file in checkpoint.h5 train.csv; do expect_same $run/$file whole/batch/seed-42/$file; done

# The time limit is near while the launcher starts, too early for anything to be kept: queued again all the same. What cannot be stopped and go on is left alone.
mkdir early
printf '#!/usr/bin/env bash\nkill -USR1 $PPID\nsleep 0.2\nkill -USR1 $$\n' > early/mpirun
chmod +x early/mpirun
PATH=$work/early:$PATH job one_node '' cache cache.toml
expect_exit 0
expect_text "slurm job 77: the time limit is near; requesting \`cache\` to stop"
calls "scontrol requeue 77"
printf '#!/usr/bin/env bash\nkill -USR1 $PPID\nsleep 0.2\nexit 5\n' > early/mpirun
PATH=$work/early:$PATH job one_node '' verify
expect_exit 5
expect_text "the time limit is near; \`verify\` cannot be stopped and resumed"
calls ""
# While the script itself still runs, as during `module load`: requeued without a start; a cancelled job is not.
for signal in USR1 TERM; do sed "\$a kill -$signal \$\$" site.sh > "early_$signal.sh"; done
DISSENT_SITE=$work/early_USR1.sh job one_node '' cache cache.toml
expect_exit 0
expect_text "slurm job 77: stopped by a signal before \`cache\` started"
calls "scontrol requeue 77"
DISSENT_SITE=$work/early_TERM.sh job one_node '' cache cache.toml
expect_exit 75
calls ""

# A cache and an evaluation go on too, to the bytes of those that were not stopped. They are made slow enough to be met: a set of many rows.
cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "batch"
runs = ["whole/batch/seed-42"]
id = "long.cache"
logits_cache = "f32"
block_rows = 16
scores = ["average", "pds"]
TOML
cat > long.toml <<'TOML'
[cache]
output = "long.cache"
shard_rows = 2048
[trunk]
model = "none"
[data]
dataset = "synthetic"
rows = 200000
dim = 100
classes = 10
TOML
# stopped_once FILE ARGS...: the job is sent USR1 once the file is there.
stopped_once() {
  local file=$1
  shift
  command="one_node.sbatch $* (USR1 once $file is there)"
  rm -f calls
  "$source_dir/slurm/one_node.sbatch" "$@" > out 2> err &
  local job=$!
  for _ in $(seq 2000); do compgen -G "$file" > /dev/null && break; kill -0 "$job" 2>/dev/null || break; sleep 0.01; done
  kill -USR1 "$job" || true
  status=0
  wait "$job" || status=$?
  expect_exit 0
  calls "scontrol requeue 77"
}
well 1 cache long.toml --quiet
mv long.cache plain.cache
stopped_once 'long.cache/*.h5' cache long.toml --quiet
expect_text "event=cache_stopped" "dissent: stopped by a signal: complete shards are kept"
expect_no_file long.cache/manifest.toml
job one_node '' cache long.toml --quiet
expect_exit 0
expect_text "event=cache_resumed"
diff -r plain.cache long.cache > diff.txt || failed "the caches differ: $(head -n 3 diff.txt)"
well 1 evaluate evaluate.toml --quiet --set evaluate.output=plain --set evaluate.logits_cache=none
stopped_once 'whole/batch/seed-42/logits/*/shard-00000.h5' evaluate evaluate.toml --quiet --set evaluate.output=stopped
expect_text "dissent: stopped by a signal: evaluate.logits_cache and fitted states are kept"
expect_no_file stopped/*.csv
job one_node '' evaluate evaluate.toml --quiet --set evaluate.output=stopped
expect_exit 0
expect_same_rows() { diff <(sed 1d "$1" | cut -d, -f1-12) <(sed 1d "$2" | cut -d, -f1-12) > diff.txt || failed "$1 and $2 differ: $(head -n 4 diff.txt)"; }
expect_same_rows plain/*.csv stopped/*.csv

# Errors keep their exit code. An array task takes its seed from its number.
job one_node '' train train.toml --set data.train=nothere.cache
expect_exit 3
calls ""
SLURM_ARRAY_TASK_ID=3 job array '' train train.toml --quiet --set training.epochs=1
expect_exit 0
expect_file results/batch/seed-45/checkpoint.h5

command="slurm/submit"
rm -f calls
"$source_dir/slurm/submit" --nodes=2 --time=1:00:00 nodes_srun train train.toml --quiet > out 2> err || failed "exit code $?"
calls "sbatch --nodes=2 --time=1:00:00 $source_dir/slurm/nodes_srun.sbatch train train.toml --quiet account=acc home=$source_dir"
status=0
"$source_dir/slurm/submit" nothere train train.toml > out 2> err || status=$?
expect_exit 2
expect_text "SCRIPT: one_node"

# A job of a sheet whose time is nearly over while Slurm, since a node failed, has queued it again itself: it goes on when it is started.
mkdir queued
printf '#!/bin/sh\necho 78\n' > queued/sbatch
printf '#!/bin/sh\necho "scontrol $*" >> "%s/calls"\necho "Job is pending execution for job 78" >&2\nexit 1\n' "$work" > queued/scontrol
printf '#!/bin/sh\necho "78|PENDING|BeginTime|queued:a|"\n' > queued/squeue
printf '#!/bin/sh\n' > queued/sacct
chmod +x queued/*
export PATH=$work/queued:$PATH SLURM_JOB_ID=78
rm -f calls
printf 'name,verb,config,set:experiment\na,train,train.toml,queued\n' > queued.csv
well 1 jobs submit queued.csv
started() { "$program" jobs exec --list "$(echo results/jobs/batches/*.json)" -- "$program" > out 2> err; }
started & job=$!
for _ in $(seq 1000); do sleep 0.02; [ ! -s results/queued/seed-42/heartbeat.0 ] || break; done
pkill -USR1 -P "$job" || true
status=0; wait "$job" || status=$?
expect_exit 0
calls "scontrol requeue 78"
well 1 jobs status queued.csv
expect_text "requeued: BeginTime"
SLURM_RESTART_COUNT=1 started || failed "the second start ended with $?"
well 1 jobs status queued.csv
expect_text "1 jobs: 1 done"
well 1 train train.toml --quiet --set experiment=queued --set output=whole
expect_same whole/queued/seed-42/checkpoint.h5 results/queued/seed-42/checkpoint.h5
finish
