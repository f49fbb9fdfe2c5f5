#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "comm/runtime.hpp"
#include "config/document.hpp"

namespace dissent::cli {

// Verbs that run with MPI: all ranks call them. Each returns the exit code.
int run_train(Runtime& runtime, const CommandLine& line);
int run_plan(Runtime& runtime, const CommandLine& line);
int run_cache(Runtime& runtime, const CommandLine& line);
int run_evaluate(Runtime& runtime, const CommandLine& line);
int run_inspect(Runtime& runtime, const CommandLine& line);
int run_verify_verb(Runtime& runtime, const CommandLine& line);
int run_export(Runtime& runtime, const CommandLine& line);
int run_doctor(Runtime& runtime, const CommandLine& line);
/// `jobs pack LIST RANKS`: the part of `jobs` that runs with MPI.
int run_jobs_pack(Runtime& runtime, const std::vector<std::string>& arguments);

/// `dissent replay`: runs in one process, which starts the training with its own launcher. Returns
/// the exit code: 0 identical, 5 something differs.
int run_replay(const CommandLine& line);

/// Runs a verb by name with its arguments: on all ranks, or on rank 0 if it is a verb for a single
/// process. Collective.
int run_verb(Runtime& runtime, const std::string& name, const std::vector<std::string>& arguments);

/// Rank 0 reads the file and the files that it includes; all ranks get the same bytes.
/// Error::kUsage, agreed. Collective.
config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides);

/// Loads the CUDA libraries if the configuration may choose a GPU (prepare_device). Called before
/// anything is computed. Collective.
void prepare_device(Runtime& runtime, const config::Document& document);

/// Applies threads and timeout_s of [runtime], and logs them. Collective.
void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s);

}  // namespace dissent::cli
