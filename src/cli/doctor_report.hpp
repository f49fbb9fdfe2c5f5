#pragma once
#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace dissent::cli {

/// The larger, the more it matters.
enum class Verdict { kOk, kSkipped, kWarning, kFailed };
const char* verdict_name(Verdict verdict);

/// What a rank found. advice: what to do about it; for anything but ok.
struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string text;
  std::string advice;
};
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

/// The findings of all ranks as one: the worst verdict, the different texts of those who have it,
/// and, where not all say the same or it is a failure, which ranks on which hosts: "/dev/shm has 0
/// B free (ranks 4-7 on n14)". findings, hosts: one a rank.
Finding merge_findings(const std::vector<Finding>& findings, const std::vector<std::string>& hosts);

/// Runs checks one after the other, prints a line each from rank 0 as soon as it is known, and
/// remembers them. Every function is collective.
class Report {
 public:
  /// json: print nothing until print_json().
  Report(Communicator& world, bool json);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  /// An exception of the work is a failure of the check, with this advice; but a message that never
  /// came (Error::kComm that is not agreed) ends the job.
  /// returns the merged verdict, the same on every rank
  Verdict check(const std::string& name, const std::string& advice,
                const std::function<Finding()>& work);
  /// The last line, or the whole as JSON.
  void finish();
  bool any_failed() const { return worst_ == Verdict::kFailed; }

 private:
  Communicator& world_;
  bool json_;
  std::vector<std::string> hosts_;
  Verdict worst_ = Verdict::kOk;
  std::unique_ptr<nlohmann::ordered_json> checks_;
};

/// A check in steps that all ranks of a group take together: where one fails on any rank, all leave
/// out the rest, and none waits for a rank that is gone.
class Steps {
 public:
  explicit Steps(Communicator& group) : group_(group) {}
  /// The work of this rank; may be collective where a failure of it is the same on all ranks.
  /// Collective.
  void run(const std::function<void()>& work);
  bool failed() const { return failed_; }
  /// The failure of this rank, or nothing to say where another failed, or what was found.
  Finding finding(const std::string& advice, const std::function<Finding()>& found) const;

 private:
  Communicator& group_;
  bool failed_ = false;
  std::string error_;
};

}  // namespace dissent::cli
