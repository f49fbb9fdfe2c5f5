#include "cli/verify.hpp"

#include <cmath>
#include <ostream>

#include "cli/verify_case.hpp"

namespace dissent::cli {
namespace {

enum class Outcome { kHeld, kFailed, kNotCovered };
struct Report {
  Outcome outcome = Outcome::kHeld;
  std::string line;  ///< why it is not held
};

const CaseHandler* find_handler(const Case& reference) {
  const auto has = [&](const std::string& name) {
    return name.empty() || reference.has_input(name) || reference.has(name);
  };
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

Report run_case(const Case& reference) {
  const auto* handler = find_handler(reference);
  if (!handler) return {Outcome::kNotCovered, {}};
  Checker checker(reference);
  try {
    handler->run(reference, checker);
  } catch (const Error& error) {
    return {Outcome::kFailed, error.what()};
  } catch (const c10::Error& error) {
    return {Outcome::kFailed, error.what_without_backtrace()};
  } catch (const nlohmann::json::exception& error) {
    return {Outcome::kFailed, error.what()};
  }
  if (checker.worst()) return {Outcome::kFailed, describe(*checker.worst())};
  const auto missing = checker.missing();
  if (!missing.empty())
    return {Outcome::kNotCovered, fmt::format("not computed: {}", fmt::join(missing, ", "))};
  return {};
}

void add(VerifyCounts& counts, Outcome outcome) {
  ++(outcome == Outcome::kHeld     ? counts.held
     : outcome == Outcome::kFailed ? counts.failed
                                   : counts.not_covered);
}

void print_table(const std::vector<std::pair<std::string, VerifyCounts>>& rows, std::ostream& out) {
  size_t width = 20;
  for (const auto& [name, counts] : rows) width = std::max(width, name.size());
  out << fmt::format("{:<{}}  {:>6}  {:>6}  {:>11}\n", "kind/name", width, "held", "failed",
                     "not covered");
  for (const auto& [name, counts] : rows)
    out << fmt::format("{:<{}}  {:>6}  {:>6}  {:>11}\n", name, width, counts.held, counts.failed,
                       counts.not_covered);
}

}  // namespace

VerifyCounts verify_cases(const std::vector<std::string>& files, std::ostream& out) {
  VerifyCounts total;
  std::vector<std::pair<std::string, VerifyCounts>> rows;  // in order of first appearance
  std::vector<std::string> lines;
  for (const auto& file : files)
    for (const auto& reference : read_cases(file)) {
      const auto report = run_case(reference);
      const std::string name = reference.kind + "/" + reference.name;
      auto row = std::find_if(rows.begin(), rows.end(),
                              [&](const auto& known) { return known.first == name; });
      if (row == rows.end()) row = rows.insert(rows.end(), {name, {}});
      add(row->second, report.outcome);
      add(total, report.outcome);
      if (!report.line.empty())
        lines.push_back(fmt::format("{} {}: {}: {}",
                                    report.outcome == Outcome::kFailed ? "failed" : "not covered",
                                    file, reference.key, report.line));
    }
  print_table(rows, out);
  for (const auto& line : lines) out << line << "\n";
  out << fmt::format("{} held, {} failed, {} not covered\n", total.held, total.failed,
                     total.not_covered)
      << std::flush;
  return total;
}

int run_verify(const std::vector<std::string>& files, bool require_all, std::ostream& out) {
  const auto counts = verify_cases(files, out);
  const bool good = counts.failed == 0 && (!require_all || counts.not_covered == 0);
  return good ? 0 : exit_code(ErrorKind::kCheck);
}

}  // namespace dissent::cli
