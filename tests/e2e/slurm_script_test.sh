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
expect_text "slurm job 77: USR1 received, asking for a checkpoint" "event=checkpoint" "threads_a_rank=1" "ranks=2"
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
expect_text "queued again 3 times already"
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
finish
