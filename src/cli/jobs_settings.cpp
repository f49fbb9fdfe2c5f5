#include "cli/jobs_settings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <variant>

#include <dissent/error.hpp>

#include "cli/verb.hpp"
#include "config/read.hpp"
#include "core/options.hpp"

namespace dissent::cli {
namespace {

using Texts = std::vector<std::string>;

// "loss.a2d.weight", and the tables themselves, because `loss.a2d=false` is a setting too.
Texts keys_of(const config::Description& description) {
  // Lists of tables (evaluate.sets) have no single key that a setting could name.
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

// The schema of the row's configuration; "" if it has none, or one that cannot be read, which
// make_jobs reports.
std::string schema_of(const jobs::SheetRow& row) {
  const auto& verb_name = row.cell("verb");
  const auto verb_kind = jobs::verb_kind(verb_name);
  if (verb_kind == jobs::VerbKind::kOther) return "";
  if (verb_kind == jobs::VerbKind::kCache || verb_kind == jobs::VerbKind::kEvaluate)
    return verb_name;

  try {
    // A cell of the sheet overrides the file.
    const auto& kind = row.cell("set:data.kind");
    if (!kind.empty()) return kind == "images" ? kImageSchema : "train";
    return schema_name(verb_name, config::load_document(config::read_sources(row.cell("config"))));
  } catch (const Error&) {
    return "";
  }
}

// "variables.format", ... of the row's configuration; none if it cannot be read.
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
  const auto verb_kind = jobs::verb_kind(verb);
  if (verb_kind != jobs::VerbKind::kTrain && verb_kind != jobs::VerbKind::kPlan) return verb;
  const auto* node = document.find("data.kind");
  const auto* kind = node ? std::get_if<std::string>(&node->data) : nullptr;
  return kind && *kind == "images" ? kImageSchema : "train";
}

namespace {

// Applies settings to the rows of a sheet whose configurations have their keys.
class SettingsOfSheet {
 public:
  SettingsOfSheet(jobs::Sheet& sheet,
                  const std::function<config::Description(const std::string& name)>& description)
      : sheet_(sheet) {
    for (const auto& row : sheet.rows) {
      // Rows that are turned off do not run, so their configurations are not read and may even be
      // missing.
      schemas_.push_back(is_off(row) ? "" : schema_of(row));
      const auto& name = schemas_.back();
      if (!name.empty() && !keys_.contains(name)) keys_[name] = keys_of(description(name));
    }
  }

  // What is wrong with the setting, or "".
  std::string apply(const std::string& setting) {
    const auto equals = setting.find('=');
    const auto key = setting.substr(0, equals);
    if (equals == std::string::npos || key.empty())
      return fmt::format("--set: expected table.key=value, found {}", toml_text(setting));

    bool applies = false;
    for (size_t i = 0; i < sheet_.rows.size(); ++i) {
      // Rows of other verbs stay as they are: a setting need not fit all of them.
      if (!has_key(i, key)) continue;
      sheet_.rows[i].cells["set:" + key] = setting.substr(equals + 1);
      applies = true;
    }
    return applies ? "" : unknown_key_text(key);
  }

 private:
  bool has_key(size_t row, const std::string& key) {
    if (schemas_[row].empty()) return false;
    const auto known =
        key.starts_with("variables.") ? variables_of(sheet_.rows[row]) : keys_[schemas_[row]];
    return std::find(known.begin(), known.end(), key) != known.end();
  }

  std::string unknown_key_text(const std::string& key) const {
    Texts all, schemas;
    for (const auto& [name, known] : keys_) {
      schemas.push_back(name);
      all.insert(all.end(), known.begin(), known.end());
    }

    const auto near = nearest(key, all);
    return fmt::format("--set {}: expected a key of a row's configuration in {}{}, found none{}",
                       key, sheet_.path,
                       schemas.empty() ? "" : fmt::format(" ({})", fmt::join(schemas, ", ")),
                       near ? fmt::format("; did you mean '{}'?", *near) : "");
  }

  jobs::Sheet& sheet_;
  Texts schemas_;                      // of each row; "" where settings do not apply
  std::map<std::string, Texts> keys_;  // of each schema
};

}  // namespace

void apply_settings(
    jobs::Sheet& sheet, const Texts& settings, int64_t ranks,
    const std::function<config::Description(const std::string& name)>& description) {
  DISSENT_CHECK(ranks >= 0, kUsage, "--ranks: expected an integer >= 1, found {}", ranks);

  // Verbs that run in one process keep their cell.
  if (ranks > 0)
    for (auto& row : sheet.rows)
      if (ranks_run(row.cell("verb"))) row.cells["ranks"] = std::to_string(ranks);

  if (settings.empty()) return;

  // All wrong settings are reported together.
  SettingsOfSheet of_sheet(sheet, description);
  Texts errors;
  for (const auto& setting : settings)
    if (const auto problem = of_sheet.apply(setting); !problem.empty()) errors.push_back(problem);
  DISSENT_CHECK(errors.empty(), kUsage, "{}", fmt::join(errors, "\n"));
}

}  // namespace dissent::cli
