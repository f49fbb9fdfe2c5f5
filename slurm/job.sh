# Sourced by the batch scripts beside it: starts the program in the background, passes the signal that Slurm sends before the time is over on to its
# ranks, and queues the job again when the program has ended with 75 (what it has done is kept).
# shellcheck shell=bash
set -euo pipefail
readonly kExitStopped=75 # src/core/exit_codes.hpp

# From the first line on: nothing else catches these signals yet. mpirun and srun pass USR1 on to all ranks. TERM and INT become USR1 too, since mpirun
# would answer them by killing.
job='' verb='' asked=0 cancelled=0
stops() { [ "$verb" = train ] || [ "$verb" = cache ] || [ "$verb" = evaluate ]; }
pass_on() { # no `return` in here: within a trap it would end the function that waits
  local signal=$1
  [ "$1" = USR1 ] || cancelled=1
  if [ -z "$verb" ] || stops; then
    asked=1 signal=USR1
    echo "slurm job ${SLURM_JOB_ID:-?}: $1 received, asking ${verb:-the program} to stop"
  elif [ "$1" = USR1 ]; then
    signal=''
    echo "slurm job ${SLURM_JOB_ID:-?}: the time limit is near; '$verb' cannot be stopped and go on"
  else
    echo "slurm job ${SLURM_JOB_ID:-?}: $1 received"
  fi
  if [ -n "$job" ] && [ -n "$signal" ]; then kill "-$signal" "$job" 2>/dev/null || true; fi
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

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
  verb=$1
  export DISSENT_MAX_RESTARTS
  if [ "$1" = --job ]; then exec "$DISSENT_PROGRAM" jobs exec --list "$2" -- "${launcher[@]}"; fi
  until_done "${launcher[@]}" "$@"
}

until_done() {
  local status=0
  if [ "$asked" = 1 ] && stops; then queue_again; fi # before it began
  "$@" &
  job=$!
  if [ "$asked" = 1 ] && stops; then kill -USR1 "$job" 2>/dev/null || true; fi # meanwhile
  wait "$job" || status=$?
  while [ "$status" -gt 128 ] && kill -0 "$job" 2>/dev/null; do # the wait was interrupted, the job was not
    status=0
    wait "$job" || status=$?
  done
  if [ "$status" = 138 ] || [ "$status" = 143 ] || [ "$status" = 130 ]; then # or the job ended right after the interruption
    status=0
    wait "$job" || status=$?
  fi
  # Too early for the program or its launcher to listen: there is nothing new to be kept.
  if [ "$status" = 138 ] && [ "$asked" = 1 ] && stops; then status=$kExitStopped; fi
  [ "$status" = "$kExitStopped" ] || exit "$status"
  queue_again
}

queue_again() {
  [ "$cancelled" = 0 ] || exit "$kExitStopped" # a cancelled job stays cancelled; Slurm itself queues a preempted one again
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "$DISSENT_MAX_RESTARTS" ]; then
    echo "slurm job ${SLURM_JOB_ID:-?}: queued again $SLURM_RESTART_COUNT times already (DISSENT_MAX_RESTARTS): start it by hand to go on" >&2
    exit "$kExitStopped"
  fi
  scontrol requeue "$SLURM_JOB_ID" || exit "$kExitStopped"
  exit 0
}
