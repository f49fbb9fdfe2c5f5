#pragma once
#include <string>
#include <vector>

#include "cli/command_line.hpp"

namespace dissent::cli {

/// A verb of the program: name, what it does, options. What runs it is a matter of the program:
/// `dissent` (front.cpp) runs those that compute nothing, `dissent-compute` (main.cpp) all.
struct Verb {
  const char* name;
  const char* summary;
  CommandLine (*line)();
  /// One process does it all: under a launcher the first rank does, and the others have nothing to
  /// do. (jobs and replay are for one process too, but any number of submitters may share a sheet.)
  bool first_rank_alone = false;
};

/// The one table of verbs.
const std::vector<Verb>& verbs();
/// The verb of this name. Error::kUsage, agreed, that names the nearest one.
const Verb& verb(const std::string& name);

/// The text of `dissent --help`.
std::string program_help();
/// The text of `dissent --version`.
std::string program_version();

}  // namespace dissent::cli
