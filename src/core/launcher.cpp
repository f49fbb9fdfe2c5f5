#include "core/launcher.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

namespace dissent {
namespace {

std::optional<int> number(const char* name) {
  const char* text = std::getenv(name);
  if (!text || !*text) return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return *end ? std::nullopt : std::optional<int>(static_cast<int>(value));
}

bool any_set(const std::vector<const char*>& names) {
  for (const char* name : names)
    if (std::getenv(name)) return true;
  return false;
}

}  // namespace

Launched launched() {
  // Launchers, by the variables that they set for each process: its rank and the number of ranks.
  struct Launcher {
    const char *rank, *ranks;
  };
  // In this order: Open MPI, PMI (MPICH, Intel MPI, Slurm's PMI), Cray PALS, MVAPICH.
  for (const auto& [rank, ranks] :
       {Launcher{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, Launcher{"PMI_RANK", "PMI_SIZE"},
        Launcher{"PALS_RANKID", "PALS_SIZE"},
        Launcher{"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"}})
    if (const auto found = number(rank))
      return {*found, std::max(1, number(ranks).value_or(1)), true, rank};

  // A Slurm job step. Batch scripts are not steps but have SLURM_PROCID too. Without PMI
  // (--mpi=none) the tasks of a step cannot connect to each other.
  const auto tasks = number("SLURM_STEP_NUM_TASKS");
  if (tasks && std::getenv("SLURM_STEP_ID"))
    return {number("SLURM_PROCID").value_or(0), *tasks,
            any_set({"PMIX_RANK", "PMIX_NAMESPACE", "PMI_FD"}), "SLURM_STEP_NUM_TASKS"};

  // Other PMIx launchers (prterun) do not set the number of ranks.
  if (const auto found = number("PMIX_RANK")) return {*found, 1, true, "PMIX_RANK"};
  return {};
}

bool is_first_rank() {
  const auto launch = launched();
  return !launch.has_mpi || launch.rank == 0;
}

void let_first_rank_speak() {
  if (!is_first_rank()) std::this_thread::sleep_for(std::chrono::seconds(2));
}

}  // namespace dissent
