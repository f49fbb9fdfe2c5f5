#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <string>
#include <vector>

#include <dissent/error.hpp>

#include "cli/exit_codes.hpp"
#include "cli/light_verbs.hpp"
#include "config/describe.hpp"

namespace dissent::cli {

namespace {

enum class Page {
  kSchema,    // the keys of a verb's configuration
  kRegistry,  // a table of losses, scores or metrics
  kExitCodes
};
struct NamedPage {
  const char* name;
  Page page;
};
constexpr NamedPage kPages[] = {{"train", Page::kSchema},     {"train-images", Page::kSchema},
                                {"cache", Page::kSchema},     {"evaluate", Page::kSchema},
                                {"losses", Page::kRegistry},  {"scores", Page::kRegistry},
                                {"metrics", Page::kRegistry}, {"exit-codes", Page::kExitCodes}};

Page page_of(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& known : kPages) {
    if (name == known.name) return known.page;
    names.push_back(known.name);
  }
  DISSENT_FAIL(kUsage,
               "config: expected one of {} (train-images: train with data.kind = \"images\"), "
               "found '{}'",
               fmt::join(names, ", "), name);
}

}  // namespace

void check_config(const CommandLine& line) {
  for (const auto& name : line.positional()) page_of(name);
}

int run_config(const CommandLine& line, const Descriptions& descriptions) {
  const std::string& name = line.positional()[0];
  const auto format = line.flag("markdown") ? config::Format::kMarkdown : config::Format::kToml;
  switch (page_of(name)) {
    case Page::kSchema:
      fmt::print("{}", config::describe(descriptions.schema(name), format));
      return 0;
    case Page::kRegistry: fmt::print("{}", descriptions.page(name)); return 0;
    case Page::kExitCodes: fmt::print("{}", exit_codes_page()); return 0;
  }
  return 0;
}

}  // namespace dissent::cli
