#include "jobs/inputs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include <dissent/error.hpp>

namespace dissent::jobs {
namespace {

namespace fs = std::filesystem;

std::string plain(const std::string& path) {
  auto normal = fs::path(path).lexically_normal().string();
  while (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}

bool fits(const std::string& pattern, const std::string& path) {
  return pattern == path || fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
}

// Whether a job's result matches the pattern, or is part of what matches it.
bool writes(const Written& written, const std::string& pattern, bool below) {
  // Three ways: the result is the pattern; it is below it; or the pattern is below a folder in
  // which the job writes files whose names are not known in advance, so any of them may be meant.
  const auto place = plain(written.path);
  if (fits(pattern, place)) return true;
  if (below && (pattern == "." || place.starts_with(pattern + "/"))) return true;
  if (!written.below) return false;
  for (auto up = fs::path(pattern).parent_path(); !up.empty() && up != up.parent_path();
       up = up.parent_path())
    if (fits(up.string(), place)) return true;
  return false;
}

// Keys of all direct and indirect dependencies.
std::set<std::string> dependencies_of(const std::vector<Job>& jobs, const Job& reader) {
  std::map<std::string, const Job*> by_key;
  for (const auto& job : jobs)
    if (!job.key.empty()) by_key[job.key] = &job;

  // Depth-first over the graph of `after`, each key once.
  std::set<std::string> found;
  std::vector<std::string> next = reader.after;
  while (!next.empty()) {
    const auto key = next.back();
    next.pop_back();
    if (!found.insert(key).second) continue;
    const auto& after = by_key.at(key)->after;
    next.insert(next.end(), after.begin(), after.end());
  }
  return found;
}

}  // namespace

Writer writer_of(const std::vector<Job>& jobs, const Job& reader, const std::set<std::string>& done,
                 const std::string& path, bool below) {
  // Several rows may write what a pattern matches. The one that matters most is returned, so that
  // the caller knows whether the files exist now, later, or in no certain order.
  const auto before = dependencies_of(jobs, reader);
  const auto pattern = plain(path);
  Writer found;
  for (const auto& job : jobs) {
    if (job.key.empty() || job.key == reader.key) continue;
    const auto& written = job.resolution.writes;
    if (std::none_of(written.begin(), written.end(),
                     [&](const Written& one) { return writes(one, pattern, below); }))
      continue;

    // A dependency that is still to run decides; one that is done comes before unordered rows.
    const auto from = !before.contains(job.key) ? Writer::From::kUnordered
                      : done.contains(job.key)  ? Writer::From::kDone
                                                : Writer::From::kComing;
    if (from == Writer::From::kComing) return {from, job.name};
    if (found.from != Writer::From::kDone) found = {from, job.name};
  }
  return found;
}

std::vector<const Job*> writers_before(const std::vector<Job>& jobs, const Job& reader,
                                       const std::set<std::string>& done, const std::string& path) {
  // Rows without an order to the reader do not count: they may run after it.
  const auto before = dependencies_of(jobs, reader);
  const auto pattern = plain(path);
  std::vector<const Job*> found;
  for (const auto& job : jobs) {
    const auto& written = job.resolution.writes;
    if (before.contains(job.key) && !done.contains(job.key) &&
        std::any_of(written.begin(), written.end(),
                    [&](const Written& one) { return writes(one, pattern, false); }))
      found.push_back(&job);
  }
  return found;
}

void check_places(const std::string& sheet, const std::vector<Job>& jobs) {
  // One error per job is enough: jobs with one path in common usually share all of them.
  std::map<std::string, const Job*> first;
  std::vector<std::string> errors;
  for (const auto& job : jobs) {
    if (job.key.empty()) continue;
    for (const auto& written : job.resolution.writes) {
      if (written.below) continue;  // a folder that many rows may share

      // Two jobs at the same time would mix their files.
      const auto [at, added] = first.emplace(plain(written.path), &job);
      if (added || at->second == &job) continue;
      errors.push_back(fmt::format("{}:{}: '{}' writes {}, as '{}' of line {} does", sheet,
                                   job.line, job.name, at->first, at->second->name,
                                   at->second->line));
      break;
    }
  }
  DISSENT_CHECK(errors.empty(), kUsage, "{}", fmt::join(errors, "\n"));
}

}  // namespace dissent::jobs
