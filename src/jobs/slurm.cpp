#include "jobs/slurm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <sstream>

#include <dissent/error.hpp>

#include "core/process.hpp"
#include "jobs/state.hpp"

namespace dissent::jobs {
namespace {

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out{""};
  for (const char c : line) {
    if (c == '|')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

std::string without_end(std::string text) {
  text.erase(text.find_last_not_of(" \n\r\t") + 1);
  return text;
}

// Because of --array each task of an array has its own line, never "123_[4-7%2]".
std::map<std::string, SlurmJob> parse_queue(const std::string& text) {
  std::map<std::string, SlurmJob> jobs;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    // The last field, the comment, may be empty.
    const auto parts = fields(without_end(line));
    if (parts.size() >= 4)
      jobs[parts[0]] = {parts[0], parts[1], parts[2], parts[3], parts.size() > 4 ? parts[4] : ""};
  }
  return jobs;
}

}  // namespace

namespace {

bool is_one_of(const std::string& state, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return state == word; });
}

}  // namespace

// The states of squeue(1).
bool SlurmJob::is_active() const {
  return is_one_of(state, {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED",
                           "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SIGNALING",
                           "STAGE_OUT", "STOPPED", "SPECIAL_EXIT"});
}
bool SlurmJob::is_running() const { return is_one_of(state, {"RUNNING", "COMPLETING"}); }
bool SlurmJob::is_cancelled() const {
  return is_one_of(state, {"CANCELLED", "DEADLINE", "REVOKED"});
}

void Slurm::ask() {
  // One call of squeue for all jobs of the sheet: a call per job would load the controller of a
  // large cluster.
  if (asked_) return;
  asked_ = true;
  asked_s_ = now_s();
  exists_ = answers_ = false;

  CapturedOutput output;
  try {
    // Own jobs of all states, one line each: id, state, reason, name, comment.
    output = run_captured(
        {"squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%r|%j|%k"});
  } catch (const Error& error) {
    problem_ = error.what();
    return;
  }

  // A failed call leaves the old list: the jobs in it may still exist.
  exists_ = true;
  answers_ = output.code == 0;
  problem_ = without_end(output.err);
  if (answers_) jobs_ = parse_queue(output.out);
}

void Slurm::renew(double time_s) {
  if (time_s + lease_s() < asked_s_) return;  // clocks of hosts may differ
  asked_ = false;
  ask();
}

bool Slurm::exists() {
  ask();
  return exists_;
}

bool Slurm::answers() {
  ask();
  return answers_;
}

std::optional<SlurmJob> Slurm::find(const std::string& id, double time_s) {
  ask();

  // A job that was submitted after the last answer is not in it.
  if (!id.empty() && exists_ && !jobs_.contains(id)) renew(time_s);
  if (const auto at = jobs_.find(id); at != jobs_.end()) return at->second;

  // Slurm forgets jobs that ended a while ago; accounting, if configured, knows them.
  if (!exists_ || id.empty()) return std::nullopt;
  if (const auto known = accounts_.find(id); known != accounts_.end()) return known->second;

  // Asked once per job, and the answer kept even if there is none: accounting is slow. The state
  // may have words behind it, as in "CANCELLED by 1000"; only the first one is compared.
  auto& account = accounts_[id];
  try {
    const auto output = run_captured({"sacct", "--noheader", "--parsable2", "--allocations",
                                      "--jobs=" + id, "--format=JobID,State,Reason,JobName"});
    std::istringstream lines(output.code == 0 ? output.out : "");
    for (std::string line; std::getline(lines, line);) {
      const auto parts = fields(without_end(line));
      if (parts.size() < 4 || parts[0] != id) continue;
      account = SlurmJob{parts[0], parts[1].substr(0, parts[1].find(' ')), parts[2], parts[3], ""};
    }
  } catch (const Error&) {  // no sacct on this machine
  }
  return account;
}

std::optional<SlurmJob> Slurm::find_by_batch(const std::string& batch, int64_t index,
                                             double time_s) {
  ask();
  const std::string ending = fmt::format("_{}", index);
  const auto known = [&]() -> std::optional<SlurmJob> {
    for (const auto& [id, job] : jobs_)
      if ((job.comment == batch || job.name == batch) && (index < 0 || id.ends_with(ending)))
        return job;
    return std::nullopt;
  };

  // The submitter may have been killed between sbatch and the record of the id: the batch's name,
  // Slurm's comment, finds the job.
  if (auto job = known()) return job;
  if (exists_) renew(time_s);
  return known();
}

int64_t max_array_size() {
  constexpr int64_t kDefault = 1001;
  try {
    // The limit is of indices, so arrays of this length have indices below it.
    std::istringstream lines(run_captured({"scontrol", "show", "config"}).out);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("MaxArraySize")) {
        const auto equals = line.find('=');
        const int64_t value =
            equals == std::string::npos ? 0 : std::atoll(line.c_str() + equals + 1);
        return value > 0 ? value : kDefault;
      }
  } catch (const Error&) {  // sbatch will report what is missing
  }
  return kDefault;
}

std::string sbatch(const std::string& submit, const std::vector<std::string>& options,
                   const std::string& script, const std::vector<std::string>& arguments) {
  // Options come before the script; everything behind it is passed to the script as arguments.
  std::vector<std::string> argv{submit, "--parsable"};
  argv.insert(argv.end(), options.begin(), options.end());
  argv.push_back(script);
  argv.insert(argv.end(), arguments.begin(), arguments.end());

  const auto output = run_captured(argv, 300);

  // The last line, "123" or "123;cluster": site.sh may print lines of its own.
  std::string id = without_end(output.out);
  id = id.substr(id.rfind('\n') == std::string::npos ? 0 : id.rfind('\n') + 1);
  id = id.substr(0, id.find(';'));
  DISSENT_CHECK(
      output.code == 0 && !id.empty() && id.find_first_not_of("0123456789") == std::string::npos,
      kData, "sbatch refused the job: {}", without_end(output.err + output.out));
  return id;
}

}  // namespace dissent::jobs
