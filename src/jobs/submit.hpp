#pragma once
#include <string>

#include "jobs/queue.hpp"

namespace dissent::jobs {

struct SubmitOptions {
  std::string slurm_folder;  ///< with submit, site.sh, job.sh and the templates
  bool arrays = true;        ///< jobs of equal needs become one array
  int64_t throttle = 0;      ///< of an array at a time; 0: all
  int64_t pack_ranks = 0;    ///< jobs of fewer ranks are packed into MPI jobs of so many; 0: not
};

/// Hands the picked jobs that may start to sbatch: a script copied from
/// <slurm_folder>/<template>.sbatch into the job's folder, its values as arguments of sbatch and in
/// state files, never as text of a script; `after` as --dependency=afterok. Jobs that are done, in
/// the queue or running are left alone; what a killed submitter left is taken over if Slurm knows
/// it, else submitted again. Reports a line a job to stdout.
/// returns 0: every picked job is done or with Slurm; 5: some are not, and why is said
int submit(Queue& queue, const SubmitOptions& options);

/// The folder slurm/ of this program: $DISSENT_HOME/slurm, that of the source tree, or of the
/// installation. Error::kData if there is none.
std::string find_slurm_folder();

}  // namespace dissent::jobs
