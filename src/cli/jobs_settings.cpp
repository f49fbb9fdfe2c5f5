#include "cli/jobs_settings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include <dissent/error.hpp>

#include "cli/verb.hpp"
#include "config/read.hpp"
#include "core/options.hpp"

namespace dissent::cli {
namespace {

using Texts = std::vector<std::string>;

// "loss.a2d.weight", and the tables themselves, since `loss.a2d=false` is a setting too.
Texts keys_of(const config::Description& description) {
  const config::DescribedConfig config(description);
  Texts keys;
  for (const auto& binding : config.schema().bindings()) {
    if (!binding.spec.name.empty()) keys.push_back(binding.spec.name);
    if (binding.kind != config::Binding::Kind::kList)
      for (const auto& option : binding.spec.options)
        keys.push_back(config::join_path(binding.spec.name, option.key));
  }
  return keys;
}

bool is_off(const jobs::SheetRow& row) { return jobs::yes_or_no(row.cell("enabled")) == false; }

// Which schema the row's configuration has; "" if there is none or it cannot be read, which
// make_jobs says.
std::string schema_of(const jobs::SheetRow& row) {
  const auto& verb_name = row.cell("verb");
  if (verb_name == "cache" || verb_name == "evaluate") return verb_name;
  if (verb_name != "train" && verb_name != "plan") return "";
  try {
    const auto& kind = row.cell("set:data.kind");
    if (!kind.empty()) return kind == "images" ? "train-images" : "train";
    return schema_name(verb_name, config::load_document(config::read_sources(row.cell("config"))));
  } catch (const Error&) {
    return "";
  }
}

// "variables.format", .. of the row's configuration; none if it cannot be read.
Texts variables_of(const jobs::SheetRow& row) {
  Texts keys;
  try {
    const auto document = config::load_document(config::read_sources(row.cell("config")));
    for (const auto& name : document.variables()) keys.push_back("variables." + name);
  } catch (const Error&) {
  }
  return keys;
}

bool ranks_run(const std::string& name) {
  const auto& all = verbs();
  return std::none_of(all.begin(), all.end(), [&](const Verb& candidate) {
    return candidate.name == name && candidate.first_rank_alone;
  });
}

}  // namespace

std::string schema_name(const std::string& verb, const config::Document& document) {
  if (verb != "train" && verb != "plan") return verb;
  const auto* node = document.find("data.kind");
  const auto* kind = node ? std::get_if<std::string>(&node->data) : nullptr;
  return kind && *kind == "images" ? "train-images" : "train";
}

void apply_settings(
    jobs::Sheet& sheet, const Texts& settings, int64_t ranks,
    const std::function<config::Description(const std::string& name)>& description) {
  DISSENT_CHECK(ranks >= 0, kUsage, "--ranks: expected an integer >= 1, found {}", ranks);
  if (ranks > 0)
    for (auto& row : sheet.rows)
      if (ranks_run(row.cell("verb"))) row.cells["ranks"] = std::to_string(ranks);
  if (settings.empty()) return;
  std::map<std::string, Texts> keys;
  Texts schemas, errors;
  std::set<std::string> used;
  for (const auto& row : sheet.rows) {
    schemas.push_back(is_off(row) ? "" : schema_of(row));
    if (const auto& name = schemas.back(); !name.empty() && used.insert(name).second)
      keys[name] = keys_of(description(name));
  }
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    const auto key = setting.substr(0, equals);
    if (equals == std::string::npos || key.empty()) {
      errors.push_back(
          fmt::format("--set: expected table.key=value, found {}", toml_text(setting)));
      continue;
    }
    bool taken = false;
    const bool variable = key.starts_with("variables.");
    for (size_t i = 0; i < sheet.rows.size(); ++i) {
      const auto known = !variable            ? keys[schemas[i]]
                         : schemas[i].empty() ? Texts()
                                              : variables_of(sheet.rows[i]);
      if (std::find(known.begin(), known.end(), key) == known.end()) continue;
      sheet.rows[i].cells["set:" + key] = setting.substr(equals + 1);
      taken = true;
    }
    if (taken) continue;
    Texts all;
    for (const auto& [name, known] : keys) all.insert(all.end(), known.begin(), known.end());
    const auto near = nearest(key, all);
    errors.push_back(fmt::format("--set {}: no row of {} has this key in its configuration{}{}",
                                 key, sheet.path,
                                 used.empty() ? "" : fmt::format(" ({})", fmt::join(used, ", ")),
                                 near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
  DISSENT_CHECK(errors.empty(), kUsage, "{}", fmt::join(errors, "\n"));
}

}  // namespace dissent::cli
