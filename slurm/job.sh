# Sourced by the batch scripts in this folder. Replaces the script by `dissent jobs exec`, which starts the program under the launcher, forwards signals
# from Slurm to the ranks, and requeues the job if the program stopped before it finished (exit code 75, src/core/exit_codes.hpp).
# shellcheck shell=bash
set -euo pipefail

# A signal may arrive while this script is still running, for example during `module load`. `jobs exec` then handles it as if it had received it itself.
for signal in USR1 TERM INT; do
  # shellcheck disable=SC2064
  trap "export DISSENT_EARLY_SIGNAL=$signal" "$signal"
done

export DISSENT_HOME=${DISSENT_HOME:-$SLURM_SUBMIT_DIR}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=$OMP_NUM_THREADS # since Slurm 22.05 srun does not read it from the job
# shellcheck source=slurm/site.sh
. "${DISSENT_SITE:-$DISSENT_HOME/slurm/site.sh}"
export DISSENT_MAX_RESTARTS

program=("$DISSENT_PROGRAM")
[ -z "$DISSENT_CONTAINER" ] || program=(apptainer exec "${CONTAINER_OPTIONS[@]}" "$DISSENT_CONTAINER" dissent)

with_mpirun() { launch mpirun -n "$SLURM_NTASKS" "${MPIRUN_OPTIONS[@]}" "${program[@]}" -- "$@"; }
with_srun() { launch srun "${SRUN_OPTIONS[@]}" "${program[@]}" -- "$@"; }

# launch LAUNCHER... -- VERB ARGS..., or launch LAUNCHER... -- --job LIST for jobs of a sheet.
launch() {
  local launcher=()
  while [ "$1" != -- ]; do launcher+=("$1"); shift; done
  if [ "$2" = --job ]; then exec "$DISSENT_PROGRAM" jobs exec --list "$3" -- "${launcher[@]}"; fi
  exec "$DISSENT_PROGRAM" jobs exec --command -- "${launcher[@]}" "$@"
}
