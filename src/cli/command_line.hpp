#pragma once
#include <boost/program_options.hpp>

#include <string>
#include <vector>

namespace dissent::cli {

/// Options and positional arguments of one verb, read with Boost.Program_options; --help is added.
/// Needs neither LibTorch nor MPI: a verb's help and its errors of usage come before anything is
/// loaded.
class CommandLine {
 public:
  /// verb        name, for the usage line
  /// positional  name of the positional argument ("CONFIG"); max_positional says how many are taken
  ///             (-1: any number, at least one; 0: none)
  CommandLine(std::string verb, std::string description, std::string positional,
              int max_positional);

  /// An option with a value.
  CommandLine& option(const char* name, const boost::program_options::value_semantic* value,
                      const char* meaning) {
    options_.add_options()(name, value, meaning);
    return *this;
  }
  /// One without.
  CommandLine& flag(const char* name, const char* meaning) {
    return option(name, boost::program_options::bool_switch(), meaning);
  }

  /// Reads the arguments. False if --help was given and printed (by the process with `print`): the
  /// verb has nothing to do. Error::kUsage, agreed by all ranks, for unknown or missing ones.
  bool parse(bool print, const std::vector<std::string>& arguments);

  bool has(const std::string& name) const {
    return values_.count(name) > 0 && (values_[name].empty() || !values_[name].defaulted());
  }
  bool flag(const std::string& name) const { return values_[name].as<bool>(); }
  template <class T>
  T get(const std::string& name) const {
    return values_[name].as<T>();
  }
  /// Of an option that may be repeated; none if it was not given.
  std::vector<std::string> texts(const std::string& name) const {
    return has(name) ? get<std::vector<std::string>>(name) : std::vector<std::string>{};
  }
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::string verb_, description_, positional_name_;
  int max_positional_;
  boost::program_options::options_description options_;
  boost::program_options::variables_map values_;
  std::vector<std::string> positional_;
};

}  // namespace dissent::cli
