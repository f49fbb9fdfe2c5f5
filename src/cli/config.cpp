#include <fmt/format.h>

#include <cstdio>
#include <dissent/error.hpp>
#include <string>

#include "cli/exit_codes.hpp"
#include "cli/light_verbs.hpp"
#include "config/describe.hpp"

namespace dissent::cli {

int run_config(const CommandLine& line, const Descriptions& descriptions) {
  const std::string& name = line.positional()[0];

  // These pages are tables of a registry, the others are described by a schema.
  if (name == "losses" || name == "scores" || name == "metrics") {
    fmt::print("{}", descriptions.page(name));
    return 0;
  }
  if (name == "exit-codes") {
    fmt::print("{}", exit_codes_page());
    return 0;
  }

  DISSENT_CHECK(
      name == "train" || name == "train-images" || name == "cache" || name == "evaluate", kUsage,
      "config: expected one of train, train-images (train with data.kind = \"images\"), cache, "
      "evaluate, losses, scores, metrics, exit-codes, found '{}'",
      name);
  fmt::print("{}", config::describe(descriptions.schema(name), line.flag("markdown")
                                                                   ? config::Format::kMarkdown
                                                                   : config::Format::kToml));
  return 0;
}

}  // namespace dissent::cli
