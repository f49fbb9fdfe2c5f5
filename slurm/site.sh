# Settings of the cluster: sourced by slurm/submit on the login node and by every job. Edit this file, or set DISSENT_SITE to the path of a copy.
# shellcheck shell=bash disable=SC2034

# Read by sbatch; omit what your cluster does not require.
# export SBATCH_ACCOUNT=my_project
# export SBATCH_PARTITION=cpu

# Modules with which the program was built.
# module load gcc openmpi hdf5/parallel

# The program: in this source tree, in the installed tree (share/dissent/slurm next to bin), or in PATH (for a copy of share/dissent elsewhere). Ranks can run
# the program of a container instead (GPUs: CONTAINER_OPTIONS=(--nv)).
if [ -z "${DISSENT_PROGRAM:-}" ]; then
  for DISSENT_PROGRAM in "$DISSENT_HOME/build/release/dissent" "$(cd "$DISSENT_HOME/../.." && pwd)/bin/dissent" "$(command -v dissent || true)" ''; do
    if [ -x "$DISSENT_PROGRAM" ]; then break; fi
  done
  if [ -z "$DISSENT_PROGRAM" ]; then
    echo "slurm/site.sh: expected dissent in $DISSENT_HOME/build/release, in bin next to the share/ of an installed tree or in PATH, found none; set DISSENT_PROGRAM" >&2
    exit 3
  fi
fi
export DISSENT_PROGRAM
DISSENT_CONTAINER=${DISSENT_CONTAINER:-}   # dissent.sif
CONTAINER_OPTIONS=()

# One rank per slot, with the number of cores of --cpus-per-task.
MPIRUN_OPTIONS=(--map-by "slot:PE=$OMP_NUM_THREADS" --bind-to core)
# `srun --mpi=list` shows the available types; use the one for which the program's MPI was built.
SRUN_OPTIONS=(--mpi=pmix --cpu-bind=cores)

# Maximum number of times that a job is requeued after it stopped because of its time limit.
DISSENT_MAX_RESTARTS=${DISSENT_MAX_RESTARTS:-100}

# A local disk of each node, to which caches are copied first for rows of a sheet with stage = 1. Empty: caches are not copied.
export DISSENT_SCRATCH=${DISSENT_SCRATCH:-}
