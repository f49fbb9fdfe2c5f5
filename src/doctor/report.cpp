#include "doctor/report.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dissent/error.hpp>

#include "comm/runtime.hpp"
#include "core/torch_failure.hpp"

namespace dissent::doctor {
namespace {

constexpr size_t kMaxTexts = 4, kMaxHosts = 4;  // in one line

// The message of an error without its rank. Errors that a group agreed on begin with a rank in that
// group, but the report names ranks of the job.
std::string text_without_rank(const Error& error) {
  const std::string text = error.what();
  const auto colon = text.find(": ");
  return error.agreed() && text.starts_with("rank ") && colon != std::string::npos
             ? text.substr(colon + 2)
             : text;
}

// The message of what the work threw, or nothing. Rethrows a failed collective: after one, ranks
// cannot be told anything.
std::optional<std::string> failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kComm && !error.agreed()) throw;
    return text_without_rank(error);
  } catch (...) {
    return current_failure().message;
  }
  return {};
}

// "rank 2 on n14", "ranks 0-3, 7 on n14, n15".
std::string place_text(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  // Consecutive ranks are written as a range: a job may have thousands.
  std::string numbers;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const size_t first = i;
    while (i + 1 < ranks.size() && ranks[i + 1] == ranks[i] + 1) ++i;
    if (!numbers.empty()) numbers += ", ";
    numbers +=
        first == i ? fmt::format("{}", ranks[i]) : fmt::format("{}-{}", ranks[first], ranks[i]);
  }

  std::set<std::string> names;
  for (const int rank : ranks) names.insert(hosts[rank]);
  const std::vector<std::string> shown(
      names.begin(),
      std::next(names.begin(), static_cast<int64_t>(std::min(names.size(), kMaxHosts))));
  const std::string more =
      names.size() > kMaxHosts ? fmt::format(" and {} more", names.size() - kMaxHosts) : "";
  return fmt::format("rank{} {} on {}{}", ranks.size() == 1 ? "" : "s", numbers,
                     fmt::join(shown, ", "), more);
}

}  // namespace

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk: return "ok";
    case Verdict::kSkipped: return "skipped";
    case Verdict::kWarning: return "warning";
    case Verdict::kFailed: return "failed";
  }
  return "?";
}

std::string count_text(int64_t count, const char* thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

Finding merge_findings(const std::vector<Finding>& findings,
                       const std::vector<std::string>& hosts) {
  // The worst verdict of all ranks is that of the check.
  Finding merged;
  for (const auto& finding : findings) merged.verdict = std::max(merged.verdict, finding.verdict);

  // The distinct texts with that verdict and their ranks, in order of the first rank of each.
  std::vector<std::pair<std::string, std::vector<int>>> texts;
  for (size_t rank = 0; rank < findings.size(); ++rank) {
    const auto& [verdict, text, advice] = findings[rank];
    if (verdict != merged.verdict || text.empty()) continue;
    if (merged.advice.empty()) merged.advice = advice;
    auto at = std::find_if(texts.begin(), texts.end(),
                           [&, &own = text](const auto& entry) { return entry.first == own; });
    if (at == texts.end()) at = texts.insert(texts.end(), {text, {}});
    at->second.push_back(static_cast<int>(rank));
  }

  // Names ranks and hosts only where they help: nodes that differ, or a failure to look into.
  const bool worse_than_others = std::any_of(findings.begin(), findings.end(), [&](const auto& f) {
    return f.verdict != merged.verdict && !f.text.empty();
  });
  const bool places = texts.size() > 1 || merged.verdict == Verdict::kFailed ||
                      (merged.verdict == Verdict::kWarning && worse_than_others);

  for (size_t i = 0; i < std::min(texts.size(), kMaxTexts); ++i)
    merged.text +=
        fmt::format("{}{}{}", i == 0 ? "" : "; ", texts[i].first,
                    places ? fmt::format(" ({})", place_text(texts[i].second, hosts)) : "");
  if (texts.size() > kMaxTexts)
    merged.text += fmt::format("; and {} more such findings", texts.size() - kMaxTexts);
  return merged;
}

Report::Report(Communicator& world, bool json)
    : world_(world),
      json_(json),
      hosts_(all_gather_text(world, host_name())),
      checks_(std::make_unique<nlohmann::ordered_json>(nlohmann::ordered_json::array())) {}

Report::~Report() = default;

Verdict Report::check(const std::string& name, const std::string& advice,
                      const std::function<Finding()>& work) {
  // An error is a finding of this check: the later checks are still made.
  Finding own;
  if (const auto error = failure_of([&] { own = work(); })) own = failed(*error, advice);

  // Every rank merges the findings of all, so all agree on the verdict.
  const auto verdicts = all_gather_integer(world_, static_cast<int64_t>(own.verdict));
  const auto texts = all_gather_text(world_, own.text),
             advices = all_gather_text(world_, own.advice);
  std::vector<Finding> findings;
  for (size_t rank = 0; rank < texts.size(); ++rank)
    findings.push_back({static_cast<Verdict>(verdicts[rank]), texts[rank], advices[rank]});
  const auto merged = merge_findings(findings, hosts_);

  worst_ = std::max(worst_, merged.verdict);
  checks_->push_back({{"name", name},
                      {"verdict", verdict_name(merged.verdict)},
                      {"finding", merged.text},
                      {"advice", merged.advice}});
  if (world_.rank() == 0 && !json_) {
    fmt::print("{:<9}{}: {}\n", verdict_name(merged.verdict), name, merged.text);
    if (merged.verdict != Verdict::kOk)
      fmt::print("{:<9}to do: {}\n", "", merged.advice.empty() ? advice : merged.advice);
    std::fflush(stdout);  // where the next check hangs, this line is already printed
  }
  return merged.verdict;
}

void Report::finish() {
  if (world_.rank() != 0) return;
  // Every rank has the same report, and rank 0 prints it.
  const std::set<std::string> names(hosts_.begin(), hosts_.end());
  std::map<std::string, int> counts;
  for (const auto& check : *checks_) ++counts[check["verdict"].get<std::string>()];
  if (!json_) {
    fmt::print("{} ok, {} skipped, {}, {} failed, on {} and {}\n", counts["ok"], counts["skipped"],
               count_text(counts["warning"], "warning"), counts["failed"],
               count_text(world_.size(), "rank"),
               count_text(static_cast<int64_t>(names.size()), "host"));
    return;
  }

  nlohmann::ordered_json json;
  json["format"] = "dissent-doctor";
  json["version"] = 1;
  json["verdict"] = verdict_name(any_failed()            ? Verdict::kFailed
                                 : counts["warning"] > 0 ? Verdict::kWarning
                                                         : Verdict::kOk);
  json["ranks"] = hosts_.size();
  json["hosts"] = names;
  json["checks"] = *checks_;
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void Steps::run(const std::function<void()>& work) {
  if (failed_) return;
  const auto error = failure_of(work);
  if (error) error_ = *error;

  // One rank's failure ends the steps on every rank, so that none waits for another.
  for (const int64_t one : all_gather_integer(group_, error.has_value()))
    failed_ = failed_ || one != 0;
}

Finding Steps::finding(const std::string& advice, const std::function<Finding()>& found) const {
  // Ranks without an error of their own say nothing, else each error would appear once per rank.
  if (!error_.empty()) return doctor::failed(error_, advice);
  return failed_ ? ok("") : found();
}

}  // namespace dissent::doctor
