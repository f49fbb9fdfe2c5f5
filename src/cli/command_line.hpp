#pragma once
#include <boost/program_options.hpp>

#include <string>
#include <vector>

namespace dissent::cli {

/// Options and positional arguments of one verb, read with Boost.Program_options; --help is added.
/// Needs neither LibTorch nor MPI: help texts and usage errors are printed before they are loaded.
class CommandLine {
 public:
  /// verb        name, for the usage line
  /// positional  name of the positional argument ("CONFIG"); max_positional is their largest number
  ///             (-1: any number, at least one; 0: none)
  CommandLine(std::string verb, std::string description, std::string positional,
              int max_positional);

  /// An option with a value.
  CommandLine& option(const char* name, const boost::program_options::value_semantic* value,
                      const char* meaning) {
    options_.add_options()(name, value, meaning);
    return *this;
  }
  /// An option without a value.
  CommandLine& flag(const char* name, const char* meaning) {
    return option(name, boost::program_options::bool_switch(), meaning);
  }

  /// Parses the arguments. Returns false after --help, which the process with `print` has printed.
  /// Error::kUsage, agreed by all ranks, for unknown or missing arguments.
  bool parse(bool print, const std::vector<std::string>& arguments);

  /// Whether the option was given on the command line; a default does not count.
  bool has(const std::string& name) const {
    return values_.count(name) > 0 && (values_[name].empty() || !values_[name].defaulted());
  }
  /// The value of an option without, or with, a value. The option has to be declared, with a
  /// default or given.
  bool flag(const std::string& name) const { return values_[name].as<bool>(); }
  template <class T>
  T get(const std::string& name) const {
    return values_[name].as<T>();
  }
  /// The values of an option that may be repeated; empty if it was not given.
  std::vector<std::string> texts(const std::string& name) const {
    return has(name) ? get<std::vector<std::string>>(name) : std::vector<std::string>{};
  }
  /// The arguments that are not options, in their order.
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::string verb_, description_, positional_name_;
  int max_positional_;
  boost::program_options::options_description options_;
  boost::program_options::variables_map values_;
  std::vector<std::string> positional_;
};

}  // namespace dissent::cli
