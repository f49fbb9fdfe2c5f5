#include "config/describe.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dissent::config {
namespace {

constexpr size_t kWidestAligned = 40;

const char* scope_text(Scope scope) { return scope == Scope::kResult ? "result" : "execution"; }

std::string presence_text(const Binding& binding) {
  switch (binding.kind) {
    case Binding::Kind::kTable: return "";
    case Binding::Kind::kOptional: return "optional: used if written";
    case Binding::Kind::kList: return "any number of these";
  }
  return "";
}

std::string line_comment(const OptionSpec& option) {
  const std::string range = range_text(option.info);
  const std::string type = option.type + (range.empty() ? "" : ", " + range);
  return fmt::format("{} ({}; {})", option.info.meaning, type, scope_text(option.info.scope));
}

std::string toml(const Binding& binding) {
  // Removing "#: " from all lines of a table enables it.
  const std::string mark = binding.kind == Binding::Kind::kTable ? "" : "#: ";
  const std::string about = presence_text(binding);
  std::string out;
  if (!binding.spec.meaning.empty())
    out += fmt::format("# {}{}\n", binding.spec.meaning, about.empty() ? "" : " (" + about + ")");
  if (!binding.spec.name.empty()) out += mark + binding.header() + "\n";
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

std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '|' ? std::string("\\|") : c == '<' ? std::string("&lt;") : std::string(1, c);
  return out;
}

std::string markdown(const Binding& binding) {
  const std::string name = binding.header(), about = presence_text(binding);
  std::string out = name.empty() ? "## Keys at the top\n\n" : fmt::format("## `{}`\n\n", name);
  if (!binding.spec.meaning.empty())
    out += binding.spec.meaning + (about.empty() ? "" : " (" + about + ")") + "\n\n";
  if (binding.spec.options.empty()) return out + "No keys.\n";
  out += "| key | type | default | range | meaning | scope |\n|---|---|---|---|---|---|\n";
  for (const auto& option : binding.spec.options)
    out += fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", option.key, cell(option.type),
                       cell(option.default_text), cell(range_text(option.info)),
                       cell(option.info.meaning), scope_text(option.info.scope));
  return out;
}

}  // namespace

std::string describe(const Schema& schema, Format format) {
  std::string out;
  for (const Binding* binding : schema.printed_order()) {
    if (!out.empty()) out += "\n";
    out += format == Format::kToml ? toml(*binding) : markdown(*binding);
  }
  return out;
}

}  // namespace dissent::config
