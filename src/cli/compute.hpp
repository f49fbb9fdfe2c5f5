#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "comm/runtime.hpp"
#include "config/document.hpp"

namespace dissent::cli {

// Verbs that are programs of MPI: all ranks call them. Each returns the exit code.
int run_train(Runtime& runtime, const CommandLine& line);
int run_plan(Runtime& runtime, const CommandLine& line);
int run_cache(Runtime& runtime, const CommandLine& line);
int run_evaluate(Runtime& runtime, const CommandLine& line);
int run_inspect(Runtime& runtime, const CommandLine& line);
int run_verify_verb(Runtime& runtime, const CommandLine& line);
int run_export(Runtime& runtime, const CommandLine& line);
int run_doctor(Runtime& runtime, const CommandLine& line);
/// `jobs pack LIST RANKS`: the part of `jobs` that is a program of MPI.
int run_jobs_pack(Runtime& runtime, const std::vector<std::string>& arguments);

/// For one process, which starts the training.
int run_replay(const CommandLine& line);

/// Runs a verb by name with its arguments: together, or on rank 0 where it is one for a single
/// process. Collective.
int run_verb(Runtime& runtime, const std::string& name, const std::vector<std::string>& arguments);

/// Rank 0 reads the file and what it includes, all ranks get the same bytes. Error::kUsage, agreed.
/// Collective.
config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides);

/// Before anything is computed: loads what a GPU needs, if the configuration may choose one
/// (prepare_device). Collective.
void prepare_device(Runtime& runtime, const config::Document& document);

/// Applies [runtime] threads and timeout_s; logs what was chosen. Collective.
void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s);

}  // namespace dissent::cli
