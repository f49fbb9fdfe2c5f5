#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"

namespace dissent::doctor {

/// In increasing order of severity.
enum class Verdict { kOk, kSkipped, kWarning, kFailed };
/// "ok", "skipped", "warning", "failed".
const char* verdict_name(Verdict verdict);

/// What a rank found. advice: a suggested fix; for every verdict except ok.
struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string text;
  std::string advice;
};
// A finding of each verdict.
inline Finding ok(std::string text) { return {Verdict::kOk, std::move(text), ""}; }
inline Finding skipped(std::string text, std::string advice) {
  return {Verdict::kSkipped, std::move(text), std::move(advice)};
}
inline Finding warning(std::string text, std::string advice) {
  return {Verdict::kWarning, std::move(text), std::move(advice)};
}
inline Finding failed(std::string text, std::string advice) {
  return {Verdict::kFailed, std::move(text), std::move(advice)};
}

/// "1 rank", "3 ranks".
std::string count_text(int64_t count, const char* thing);

/// Merges the findings of all ranks into one: the worst verdict and the distinct texts of the ranks
/// that have it. Texts that differ, and failures, name their ranks and hosts: "/dev/shm has 0 B
/// free (ranks 4-7 on n14)". findings, hosts: one per rank.
Finding merge_findings(const std::vector<Finding>& findings, const std::vector<std::string>& hosts);

/// Runs checks one after the other, prints the line of each on rank 0 as soon as its result is
/// known, and records all results. Every function is collective.
class Report {
 public:
  /// json: print nothing before finish().
  Report(Communicator& world, bool json);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  /// Runs one check. An exception in the work is a failed check with this advice, except a timeout
  /// of a collective (Error::kComm that is not agreed), which ends the job. returns the merged
  /// verdict, the same on every rank
  Verdict check(const std::string& name, const std::string& advice,
                const std::function<Finding()>& work);
  /// Prints the summary line, or the whole report as JSON.
  void finish();
  bool any_failed() const { return worst_ == Verdict::kFailed; }

 private:
  Communicator& world_;
  bool json_;
  std::vector<std::string> hosts_;
  Verdict worst_ = Verdict::kOk;
  std::unique_ptr<nlohmann::ordered_json> checks_;
};

/// A check in steps that all ranks of a group run together: once a step fails on any rank, all
/// ranks skip the later steps, so none waits in a collective for a rank that left.
class Steps {
 public:
  explicit Steps(Communicator& group) : group_(group) {}
  /// Runs this rank's work of one step. The work may be collective if it fails on all ranks or on
  /// none. Collective.
  void run(const std::function<void()>& work);
  bool failed() const { return failed_; }
  /// This rank's failure; an empty text where another rank failed; else what `found` returns.
  Finding finding(const std::string& advice, const std::function<Finding()>& found) const;

 private:
  Communicator& group_;
  bool failed_ = false;
  std::string error_;
};

}  // namespace dissent::doctor
