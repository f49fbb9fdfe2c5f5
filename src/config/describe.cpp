#include "config/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/option_page.hpp"

namespace dissent::config {
namespace {

constexpr size_t kWidestAligned = 40;

std::string presence_text(const Binding& binding) {
  switch (binding.kind) {
    case Binding::Kind::kTable: return "";
    case Binding::Kind::kOptional: return "optional: enabled if present";
    case Binding::Kind::kList: return "any number of these";
  }
  return "";
}

std::string line_comment(const OptionSpec& option) {
  const std::string range = range_text(option.info);
  const std::string type = option.type + (range.empty() ? "" : ", " + range);
  return fmt::format("{} ({}; {})", option.info.meaning, type, scope_name(option.info.scope));
}

std::string toml(const Binding& binding) {
  // Removing "#: " from all lines of a table enables it.
  const std::string mark = binding.kind == Binding::Kind::kTable ? "" : "#: ";
  const std::string about = presence_text(binding);
  std::string out;
  if (!binding.spec.meaning.empty())
    out += fmt::format("# {}{}\n", binding.spec.meaning, about.empty() ? "" : " (" + about + ")");
  if (!binding.spec.name.empty()) out += mark + binding.header() + "\n";

  // The comments of a table are aligned, up to a width that long defaults may exceed.
  std::vector<std::string> settings;
  size_t width = 0;
  for (const auto& option : binding.spec.options) {
    settings.push_back(fmt::format("{} = {}", option.key, option.default_text));
    width = std::max(width, std::min(settings.back().size(), kWidestAligned));
  }

  for (size_t i = 0; i < settings.size(); ++i)
    out += fmt::format("{}{:<{}}  # {}\n", mark, settings[i], width,
                       line_comment(binding.spec.options[i]));
  return out;
}

std::string markdown(const Binding& binding) {
  const std::string name = binding.header(), about = presence_text(binding);
  std::string out = name.empty() ? "## Top-level keys\n\n" : fmt::format("## `{}`\n\n", name);
  if (!binding.spec.meaning.empty())
    out += binding.spec.meaning + (about.empty() ? "" : " (" + about + ")") + "\n\n";

  if (binding.spec.options.empty()) return out + "No keys.\n";
  out += "| key | type | default | range | meaning | scope |\n|---|---|---|---|---|---|\n";
  for (const auto& option : binding.spec.options)
    out +=
        fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", option.key, markdown_cell(option.type),
                    markdown_cell(option.default_text), markdown_cell(range_text(option.info)),
                    markdown_cell(option.info.meaning), scope_name(option.info.scope));
  return out;
}

}  // namespace

const char* scope_name(Scope scope) { return scope == Scope::kResult ? "result" : "execution"; }

std::string describe(const Schema& schema, Format format) {
  std::string out;
  for (const Binding* binding : schema.printed_order()) {
    if (!out.empty()) out += "\n";
    out += format == Format::kToml ? toml(*binding) : markdown(*binding);
  }
  return out;
}

}  // namespace dissent::config
