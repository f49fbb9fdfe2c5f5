#pragma once
#include <boost/program_options.hpp>

#include <string>
#include <vector>

#include "comm/runtime.hpp"
#include "config/document.hpp"

namespace dissent::cli {

/// A verb of the program. Returns the exit code.
struct Verb {
  const char* name;
  const char* summary;
  int (*run)(Runtime& runtime, const std::vector<std::string>& arguments);
  /// Instead of `run` where this says so: as one process that does not start MPI, since it starts
  /// programs that do.
  int (*run_alone)(const std::vector<std::string>& arguments) = nullptr;
};
/// The one table of verbs.
const std::vector<Verb>& verbs();

int run_train(Runtime& runtime, const std::vector<std::string>& arguments);
int run_plan(Runtime& runtime, const std::vector<std::string>& arguments);
int run_cache(Runtime& runtime, const std::vector<std::string>& arguments);
int run_evaluate(Runtime& runtime, const std::vector<std::string>& arguments);
int run_config(Runtime& runtime, const std::vector<std::string>& arguments);
int run_inspect(Runtime& runtime, const std::vector<std::string>& arguments);
int run_imglist(Runtime& runtime, const std::vector<std::string>& arguments);
int run_verify_verb(Runtime& runtime, const std::vector<std::string>& arguments);
int run_export(Runtime& runtime, const std::vector<std::string>& arguments);
int run_doctor(Runtime& runtime, const std::vector<std::string>& arguments);
int run_tables(Runtime& runtime, const std::vector<std::string>& arguments);
int run_plot(Runtime& runtime, const std::vector<std::string>& arguments);
int run_jobs_alone(const std::vector<std::string>& arguments);
/// `jobs pack`: the part of `jobs` that is an MPI program.
int run_jobs_pack(Runtime& runtime, const std::vector<std::string>& arguments);
int run_replay(const std::vector<std::string>& arguments);
/// The verb that these arguments of the program are to be run as without MPI, or nullptr.
const Verb* alone(const std::vector<std::string>& arguments);

/// Options of one verb, read with Boost.Program_options; --help is added. Unknown or missing ones
/// are Error::kUsage, agreed by all ranks.
class CommandLine {
 public:
  /// positional: name of the positional argument ("CONFIG"), and how many are wanted
  /// (max_positional -1: any number, at least one).
  CommandLine(const Verb& verb, const std::string& description, const char* positional,
              int max_positional);
  boost::program_options::options_description_easy_init add() { return options_.add_options(); }
  /// False if --help was printed (on rank 0) and the verb has nothing to do.
  bool parse(Runtime& runtime, const std::vector<std::string>& arguments) {
    return parse(runtime.world().rank() == 0, arguments);
  }
  /// The same where there is no Runtime; print: this process prints --help.
  bool parse(bool print, const std::vector<std::string>& arguments);
  bool has(const std::string& name) const {
    return values_.count(name) > 0 && (values_[name].empty() || !values_[name].defaulted());
  }
  bool flag(const std::string& name) const { return values_[name].as<bool>(); }
  template <class T>
  T get(const std::string& name) const {
    return values_[name].as<T>();
  }
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  const Verb& verb_;
  std::string description_, positional_name_;
  int max_positional_;
  boost::program_options::options_description options_;
  boost::program_options::variables_map values_;
  std::vector<std::string> positional_;
};

/// The verb of this name in verbs().
const Verb& verb(const std::string& name);

/// Rank 0 reads the file and what it includes, all ranks get the same bytes. Error::kUsage, agreed.
/// Collective.
config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides);

/// Applies [runtime] threads and timeout_s; logs what was chosen. Collective.
void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s);

}  // namespace dissent::cli
