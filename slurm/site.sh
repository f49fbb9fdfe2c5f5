# Settings of the site: sourced by slurm/submit on the login node and by every job. Edit it, or point DISSENT_SITE to a copy.
# shellcheck shell=bash disable=SC2034

# Read by sbatch; leave out what your site does not require.
# export SBATCH_ACCOUNT=my_project
# export SBATCH_PARTITION=cpu

# Modules that the program was built with.
# module load gcc openmpi hdf5/parallel

# The program: in this source tree, in the installed tree (share/dissent/slurm beside bin), or in PATH (for a copy of share/dissent elsewhere). Ranks can run
# the program of a container instead (GPUs: CONTAINER_OPTIONS=(--nv)).
if [ -z "${DISSENT_PROGRAM:-}" ]; then
  for DISSENT_PROGRAM in "$DISSENT_HOME/build/release/dissent" "$(cd "$DISSENT_HOME/../.." && pwd)/bin/dissent" "$(command -v dissent || true)" ''; do
    if [ -x "$DISSENT_PROGRAM" ]; then break; fi
  done
  if [ -z "$DISSENT_PROGRAM" ]; then
    echo "slurm/site.sh: expected dissent in $DISSENT_HOME/build/release, in bin beside the share/ of an installed tree or in PATH, found none; set DISSENT_PROGRAM" >&2
    exit 3
  fi
fi
export DISSENT_PROGRAM
DISSENT_CONTAINER=${DISSENT_CONTAINER:-}   # dissent.sif
CONTAINER_OPTIONS=()

# One rank per slot, with the number of cores of --cpus-per-task.
MPIRUN_OPTIONS=(--map-by "slot:PE=$OMP_NUM_THREADS" --bind-to core)
# `srun --mpi=list` shows the choices; it has to be the one that the program's MPI was built with.
SRUN_OPTIONS=(--mpi=pmix --cpu-bind=cores)

# A job that stops because of its time limit is requeued at most this often.
DISSENT_MAX_RESTARTS=${DISSENT_MAX_RESTARTS:-100}

# A local disk of each node, to which rows of a sheet with stage = 1 copy their caches first. Empty: no copies.
export DISSENT_SCRATCH=${DISSENT_SCRATCH:-}
