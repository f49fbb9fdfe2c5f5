#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <dissent/error.hpp>
#include <sstream>
#include <utility>

#include "core/options.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;

// "; did you mean '--force'?", or nothing if no option is similar.
std::string nearest_option(const po::options_description& options, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  const auto near = nearest(name, names);
  return near ? fmt::format("; did you mean '{}'?", *near) : "";
}

}  // namespace

CommandLine::CommandLine(std::string verb, std::string description, std::string positional,
                         int max_positional)
    : verb_(std::move(verb)),
      description_(std::move(description)),
      positional_name_(std::move(positional)),
      max_positional_(max_positional),
      options_("Options") {
  options_.add_options()("help,h", po::bool_switch(), "print this help");
}

bool CommandLine::parse(bool print, const std::vector<std::string>& arguments) {
  const std::string usage = fmt::format("usage: dissent {} [options]{}{}", verb_,
                                        max_positional_ == 0 ? "" : " ", positional_name_);

  // The option "positional" only gives the arguments without a name a place; it is not in the help.
  try {
    po::options_description all;
    all.add(options_).add_options()("positional",
                                    po::value<std::vector<std::string>>(&positional_));

    po::positional_options_description places;
    places.add("positional", max_positional_);
    po::store(po::command_line_parser(arguments).options(all).positional(places).run(), values_);
    po::notify(values_);

    if (flag("help")) {
      std::ostringstream text;
      text << options_;
      if (print) fmt::print("{}\n\n{}\n\n{}", usage, description_, text.str());
      return false;
    }
    DISSENT_CHECK(max_positional_ == 0 || !positional_.empty(), kUsage, "{} is missing; {}",
                  positional_name_, usage);
  } catch (const po::error& error) {
    // All ranks parse the same arguments, so all of them have the same error.
    std::string near;
    if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&error))
      near = nearest_option(options_, unknown->get_option_name());
    Error ours(ErrorKind::kUsage,
               fmt::format("{}{}; {} (--help lists the options)", error.what(), near, usage),
               __FILE__, __LINE__);
    ours.set_agreed();
    throw ours;
  } catch (Error& error) {
    error.set_agreed();
    throw;
  }
  return true;
}

}  // namespace dissent::cli
