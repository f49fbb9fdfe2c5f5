#pragma once
#include <string>
#include <vector>

#include "cli/command_line.hpp"

namespace dissent::cli {

/// A verb of the program: name, summary and options. `dissent` (front.cpp) runs the verbs that
/// compute nothing, `dissent-compute` (main.cpp) all of them.
struct Verb {
  const char* name;
  const char* summary;    ///< one line of `dissent --help`
  CommandLine (*line)();  ///< its options, for parsing and for `dissent VERB --help`
  /// Only one process is needed: under a launcher rank 0 runs the verb and the other ranks do
  /// nothing. (jobs and replay need one process too, but several submitters may share a sheet.)
  bool first_rank_alone = false;
};

/// The one table of verbs.
const std::vector<Verb>& verbs();
/// The verb of this name. Error::kUsage, agreed, with the most similar name.
const Verb& verb(const std::string& name);

/// The text of `dissent --help`.
std::string program_help();
/// The text of `dissent --version`.
std::string program_version();

}  // namespace dissent::cli
