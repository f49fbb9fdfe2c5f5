# Sourced by the batch scripts beside it: starts the program in the background, passes the signal that Slurm sends before the time is over on to its
# ranks, and queues the job again when the program has ended with 75 (a checkpoint is written).
# shellcheck shell=bash
set -euo pipefail
export DISSENT_HOME=${DISSENT_HOME:-$SLURM_SUBMIT_DIR}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=$OMP_NUM_THREADS # srun does not take it from the job since Slurm 22.05
# shellcheck source=slurm/site.sh
. "${DISSENT_SITE:-$DISSENT_HOME/slurm/site.sh}"

program=("$DISSENT_PROGRAM")
[ -z "$DISSENT_CONTAINER" ] || program=(apptainer exec "${CONTAINER_OPTIONS[@]}" "$DISSENT_CONTAINER" dissent)

with_mpirun() { launch mpirun -n "$SLURM_NTASKS" "${MPIRUN_OPTIONS[@]}" "${program[@]}" -- "$@"; }
with_srun() { launch srun "${SRUN_OPTIONS[@]}" "${program[@]}" -- "$@"; }

# launch LAUNCHER... -- VERB ARGS...; for a job of a sheet the arguments are `--job LIST`, and `dissent jobs exec` does what until_done does, and writes it down.
launch() {
  local launcher=()
  while [ "$1" != -- ]; do launcher+=("$1"); shift; done
  shift
  export DISSENT_MAX_RESTARTS
  if [ "$1" = --job ]; then exec "$DISSENT_PROGRAM" jobs exec --list "$2" -- "${launcher[@]}"; fi
  until_done "${launcher[@]}" "$@"
}

# mpirun and srun pass USR1 on to all ranks. TERM becomes USR1 too, since mpirun would answer it by killing.
job='' cancelled=0
pass_on() {
  echo "slurm job ${SLURM_JOB_ID:-?}: $1 received, asking for a checkpoint"
  [ "$1" = USR1 ] || cancelled=1
  [ -z "$job" ] || kill -USR1 "$job" 2>/dev/null || true
}

until_done() {
  local status=0
  trap 'pass_on USR1' USR1
  trap 'pass_on TERM' TERM
  "$@" &
  job=$!
  wait "$job" || status=$?
  while [ "$status" -gt 128 ] && kill -0 "$job" 2>/dev/null; do # the wait was interrupted, the job was not
    status=0
    wait "$job" || status=$?
  done
  if [ "$status" = 138 ] || [ "$status" = 143 ]; then # or the job ended right after the interruption
    status=0
    wait "$job" || status=$?
  fi
  [ "$status" = 75 ] || exit "$status"
  [ "$cancelled" = 0 ] || exit 75 # a cancelled job stays cancelled; Slurm itself queues a preempted one again
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "$DISSENT_MAX_RESTARTS" ]; then
    echo "slurm job ${SLURM_JOB_ID:-?}: queued again $SLURM_RESTART_COUNT times already (DISSENT_MAX_RESTARTS): start it by hand to go on" >&2
    exit 75
  fi
  scontrol requeue "$SLURM_JOB_ID" || exit 75
  exit 0
}
