// The frame of all benchmarks: options, timing, and one format of output.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/timing.hpp"

namespace boost::program_options {
class options_description;
}

namespace dissent::bench {

/// The options of a benchmark. An unknown option and a wrong value are errors (exit code 2).
class Options {
 public:
  /// --help prints the description and all options. --threads is declared here.
  Options(std::string program, std::string description);
  ~Options();

  // Each binds an option to a variable, whose value is the default.
  Options& number(const char* name, int64_t& value, const char* meaning, int64_t at_least = 1);
  Options& number(const char* name, double& value, const char* meaning);  ///< above 0
  Options& text(const char* name, std::string& value, const char* meaning);
  /// One of the values; an empty default is allowed and means all of them.
  Options& choice(const char* name, std::string& value, const std::vector<std::string>& values,
                  const char* meaning);
  Options& flag(const char* name, bool& value, const char* meaning);

  /// False if --help was given and printed. Error::kUsage.
  bool parse(int argc, char** argv);

  /// --threads; `otherwise` if it was not given.
  int threads(int otherwise) const { return static_cast<int>(threads_ > 0 ? threads_ : otherwise); }

 private:
  std::string program_, description_;
  std::unique_ptr<boost::program_options::options_description> options_;
  int64_t threads_ = 0;
};

/// Parses the options and runs the benchmark. An error is printed to stderr and becomes the exit
/// code of its kind.
int run(Options& options, int argc, char** argv, const std::function<void()>& benchmark);

/// A value in the output in addition to the time; whole numbers are printed as such, others with
/// six digits.
struct Value {
  Value(std::string key, int64_t number);
  Value(std::string key, double number);
  Value(std::string key, const std::string& text);
  std::string key, json;
};

/// What identifies the measurements of a benchmark: {"bench": name, "peer": who computes it}.
struct Source {
  std::string bench;
  std::string peer = "dissent";
  int ranks = 1;
};

/// Prints a measurement: one JSON object per line on stdout, {"bench", "peer", "what", "ranks",
/// "threads", "ms", ...}, and the same as a line for readers on stderr.
void report(const Source& source, const std::string& what, double milliseconds,
            const std::vector<Value>& values = {});
/// The same for values that belong to a measurement already reported, without a time.
void report_values(const Source& source, const std::string& what, const std::vector<Value>& values);

/// Seconds of one call.
double seconds_of(const std::function<void()>& work);

/// Milliseconds per call where nothing else runs: the least of ten windows of about 30 ms each.
double least_ms(const std::function<void()>& work);

}  // namespace dissent::bench
