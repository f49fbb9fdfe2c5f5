#pragma once
#include <cstdint>
#include <string>

#include "jobs/queue.hpp"

namespace dissent::jobs {

struct SubmitOptions {
  std::string slurm_folder;  ///< with submit, site.sh, job.sh and the templates
  bool arrays = true;        ///< jobs with equal requirements become one job array
  int64_t throttle = 0;      ///< tasks of an array that run at a time; 0: all
  int64_t pack_ranks = 0;    ///< ranks of the MPI jobs that smaller jobs are packed into; 0: none
};

/// Submits the picked jobs that may start with sbatch: a script copied from
/// <slurm_folder>/<template>.sbatch into the job's folder, its values as arguments of sbatch and in
/// state files, never as text of a script; `after` as --dependency=afterok. Jobs that are done,
/// queued or running are left alone; jobs of a killed submitter are taken over if Slurm knows them,
/// else submitted again. Reports one line per job to stdout.
/// returns 0: every picked job is done or in Slurm; 5: some are not, with the reasons on stdout
int submit(Queue& queue, const SubmitOptions& options);

/// The folder slurm/ of this program: $DISSENT_HOME/slurm, that of the source tree, or that of the
/// installation. Error::kData if none exists.
std::string find_slurm_folder();

}  // namespace dissent::jobs
