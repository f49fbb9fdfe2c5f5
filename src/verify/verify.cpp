#include "verify/verify.hpp"

#include <algorithm>
#include <cmath>
#include <ostream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text_table.hpp"
#include "core/torch_failure.hpp"
#include "verify/case.hpp"
#include "verify/device.hpp"

namespace dissent::verify {
namespace {

enum class Outcome { kHeld, kFailed, kNotCovered };
struct Report {
  Outcome outcome = Outcome::kHeld;
  std::string line;  ///< why the case does not hold
};

// The handler of a case, or nullptr.
const CaseHandler* find_handler(const Case& reference) {
  const auto has = [&](const std::string& name) {
    return name.empty() || reference.has_input(name) || reference.has(name);
  };

  // The first match decides, so of two handlers with one name the one that requires an input
  // (`having`) comes in an earlier table.
  for (const auto* table :
       {&loss_handlers(), &sdde_loss_handlers(), &saliency_handlers(), &sdde_score_handlers(),
        &postprocessor_handlers(), &score_handlers(), &metric_handlers(), &training_handlers(),
        &image_step_handlers(), &network_handlers(), &preprocess_handlers()})
    for (const auto& handler : *table)
      if (handler.kind == reference.kind && handler.name == reference.name && has(handler.having))
        return &handler;
  return nullptr;
}

std::string describe(const Difference& worst) {
  return fmt::format("{}: ours {:.17g}, reference {:.17g}, difference {:.3g}, tolerance {:.3g}",
                     worst.output, worst.ours, worst.reference,
                     std::abs(worst.ours - worst.reference), worst.tolerance);
}

// Every error counts as a failure of the case, so that one bad case does not end the comparison.
Report run_handler(const CaseHandler& handler, const Case& reference, Checker& checker) {
  try {
    handler.run(reference, checker);
  } catch (const Error& error) {
    return {Outcome::kFailed, error.what()};
  } catch (const c10::Error&) {
    return {Outcome::kFailed, current_reason()};
  } catch (const nlohmann::json::exception&) {
    return {Outcome::kFailed,
            fmt::format("expected other parameters of the case: {}", current_reason())};
  }

  if (checker.worst()) return {Outcome::kFailed, describe(*checker.worst())};

  // A handler that computes only some outputs must not count as agreement with the reference.
  const auto missing = checker.missing();
  if (!missing.empty())
    return {Outcome::kNotCovered, fmt::format("not computed: {}", fmt::join(missing, ", "))};
  return {};
}

const char* text_of(at::ScalarType arithmetic) { return arithmetic == at::kDouble ? "f64" : "f32"; }

std::string describe_largest(const Checker& checker) {
  const auto& largest = checker.largest();
  return largest ? fmt::format("{}: difference {:.3g}, tolerance {:.3g}", largest->output,
                               std::abs(largest->ours - largest->reference), largest->tolerance)
                 : "no difference";
}

// Computes a case on the device once per rule. Returns the first outcome other than passed; `lines`
// gets the largest difference of each computation.
Report run_on_device(const CaseHandler& handler, const Case& reference,
                     const std::vector<const DeviceRule*>& rules, at::Device device,
                     std::vector<std::string>& lines) {
  Report whole;
  for (const auto* rule : rules) {
    const auto moved = on_device(reference, device, rule->arithmetic);
    Checker checker(moved, device_tolerance(reference, *rule));
    auto report = run_handler(handler, moved, checker);

    // A failure without a difference above its tolerance is an exception: there are no values to
    // show.
    const bool compared = report.outcome != Outcome::kFailed || checker.worst();
    lines.push_back(fmt::format("{} {} {}: {}", reference.file, reference.key,
                                text_of(rule->arithmetic),
                                compared ? describe_largest(checker) : "an error"));

    if (whole.outcome == Outcome::kHeld)
      whole = {report.outcome, report.line.empty()
                                   ? ""
                                   : fmt::format("{}: {}", text_of(rule->arithmetic), report.line)};
  }
  return whole;
}

void add(VerifyCounts& counts, Outcome outcome) {
  switch (outcome) {
    case Outcome::kHeld: ++counts.held; break;
    case Outcome::kFailed: ++counts.failed; break;
    case Outcome::kNotCovered: ++counts.not_covered; break;
  }
}

// Counts of the cases of one kind and name.
struct Row {
  std::string name, device_text;
  VerifyCounts counts = {};
};

std::string name_of(const DeviceRule& rule) {
  return rule.kind + (rule.name.empty() ? "" : "/" + rule.name);
}

// The row of this name, added at the end if there is none.
Row& row_of(std::vector<Row>& rows, const std::string& name, const std::string& device_text) {
  auto row =
      std::find_if(rows.begin(), rows.end(), [&](const Row& known) { return known.name == name; });
  if (row == rows.end()) row = rows.insert(rows.end(), {name, device_text});
  return *row;
}

void print_rules(const VerifyOptions& options, std::ostream& out) {
  TableRows table{{"tolerances", "arithmetic", "of largest", "reason"}};
  for (const auto& rule : device_rules())
    table.push_back({name_of(rule), text_of(rule.arithmetic),
                     fmt::format("{:.2g}", rule.of_largest), rule.reason});

  using enum Align;
  out << fmt::format("device: {} ({}); f32 is IEEE f32\n", options.device_name,
                     options.device.str())
      << plain_table(table, {kLeft, kLeft, kRight, kLeft});
}

void print_table(const std::vector<Row>& rows, std::ostream& out) {
  TableRows table{{"kind/name", "passed", "failed", "not covered", ""}};
  for (const auto& [name, device_text, counts] : rows)
    table.push_back({name, fmt::to_string(counts.held), fmt::to_string(counts.failed),
                     fmt::to_string(counts.not_covered), device_text});

  using enum Align;
  out << plain_table(table, {kLeft, kRight, kRight, kRight, kLeft});
}

}  // namespace

VerifyCounts verify_cases(const std::vector<std::string>& files, std::ostream& out,
                          const VerifyOptions& options) {
  const bool as_device = !options.device_name.empty();
  VerifyCounts total;
  std::vector<Row> rows;  // in order of first appearance
  std::vector<std::string> problems, differences;

  for (const auto& file : files)
    for (const auto& reference : read_cases(file)) {
      // Without a rule a case is computed on the host even if a device is given, and says so.
      const auto rules = as_device ? rules_of(reference) : std::vector<const DeviceRule*>{};
      const auto* handler = find_handler(reference);
      Report report{Outcome::kNotCovered, {}};
      if (handler && !rules.empty()) {
        report = run_on_device(*handler, reference, rules, options.device, differences);
        ++total.on_device;
      } else if (handler) {
        Checker checker(reference);
        report = run_handler(*handler, reference, checker);
      }

      // Counted per kind and name, since a file may have hundreds of cases; those that do not pass
      // are listed one by one below the table.
      std::string device_text;
      if (as_device) device_text = rules.empty() ? "on the host" : "on " + options.device.str();
      auto& row = row_of(rows, reference.kind + "/" + reference.name, device_text);
      add(row.counts, report.outcome);
      add(total, report.outcome);
      if (!report.line.empty())
        problems.push_back(fmt::format(
            "{} {}: {}: {}", report.outcome == Outcome::kFailed ? "failed" : "not covered", file,
            reference.key, report.line));
    }

  if (as_device) print_rules(options, out);
  print_table(rows, out);
  for (const auto& line : differences) out << line << "\n";
  for (const auto& line : problems) out << line << "\n";
  if (as_device)
    out << fmt::format("{} of {} cases computed on {}\n", total.on_device,
                       total.held + total.failed + total.not_covered, options.device.str());
  out << fmt::format("{} passed, {} failed, {} not covered\n", total.held, total.failed,
                     total.not_covered)
      << std::flush;
  return total;
}

int run_verify(const std::vector<std::string>& files, bool require_all, std::ostream& out,
               const VerifyOptions& options) {
  const auto counts = verify_cases(files, out, options);
  const bool good = counts.failed == 0 && (!require_all || counts.not_covered == 0);
  return good ? 0 : exit_code(ErrorKind::kCheck);
}

}  // namespace dissent::verify
