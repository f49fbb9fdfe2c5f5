#include "core/cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

namespace dissent {
namespace {

// cgroup v1 encodes "no limit" as a number near 2^63.
constexpr int64_t kNoLimit = int64_t{1} << 60;

struct Group {
  std::string mount;  // mount point of its hierarchy
  std::string path;   // of the group below the mount point: "/job_7", or ""
  bool unified;       // cgroup v2
};

std::vector<std::string> split(const std::string& text, char mark) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, mark);) parts.push_back(part);
  return parts;
}

bool lists(const std::string& text, const std::string& word) {
  for (const auto& part : split(text, ','))
    if (part == word) return true;
  return false;
}

// The group's path in a hierarchy, from /proc/self/cgroup: "4:memory:/job_7" (v1), "0::/job_7"
// (v2).
std::optional<std::string> group_path(const std::string& root, const std::string& controller,
                                      bool unified) {
  std::ifstream file(root + "/proc/self/cgroup");
  // A line is "number:controllers:path"; cgroup v2 has number 0 and no controllers.
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (unified ? line.starts_with("0::") : lists(controllers, controller))
      return line.substr(second + 1);
  }
  return {};
}

// Every mounted hierarchy that has the controller. A line of mountinfo: id parent device root mount
// options ... - type source options.
std::vector<Group> groups(const std::string& root, const std::string& controller) {
  std::vector<Group> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto left = split(line.substr(0, dash), ' '), right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;

    const bool unified = right[0] == "cgroup2";
    if (!unified && (right[0] != "cgroup" || !lists(right[2], controller))) continue;

    auto path = group_path(root, controller, unified);
    if (!path) continue;
    // A container may see its own group as the root, while the path still starts at the host's
    // root.
    if (left[3] != "/" && (*path == left[3] || path->starts_with(left[3] + "/")))
      path = path->substr(left[3].size());

    if (*path == "/") path = "";
    found.push_back({root + left[4], *path, unified});
  }
  return found;
}

std::optional<int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;
  return {};
}

// Page cache of files in the group and its children; files in /dev/shm are not included.
int64_t file_pages(const std::string& folder, bool unified) {
  const std::string prefix = unified ? "" : "total_";
  std::ifstream file(folder + "/memory.stat");
  int64_t bytes = 0, value = 0;
  for (std::string name; file >> name >> value;)
    if (name == prefix + "inactive_file" || name == prefix + "active_file") bytes += value;
  return bytes;
}

// Visits the group's folder and its parents, up to the mount point.
template <class Visit>
void each_level(const Group& group, const Visit& visit) {
  for (std::string path = group.path;; path = path.substr(0, path.rfind('/'))) {
    visit(group.mount + path);
    if (path.empty() || path.rfind('/') == std::string::npos) return;
  }
}

}  // namespace

std::optional<MemoryLimit> memory_limit(const std::string& root) {
  std::optional<MemoryLimit> tightest;
  for (const auto& group : groups(root, "memory")) {
    // A parent may have a tighter limit than the process's own group, so every level counts.
    each_level(group, [&](const std::string& folder) {
      const auto limit =
          number_in(folder + (group.unified ? "/memory.max"
                                            : "/memory.limit_in_bytes"));  // "max" is not a number
      const auto used =
          number_in(folder + (group.unified ? "/memory.current" : "/memory.usage_in_bytes"));
      if (!limit || !used || *limit >= kNoLimit) return;

      // Page cache counts as used memory, but is freed under pressure.
      const int64_t left =
          std::clamp<int64_t>(*limit - *used + file_pages(folder, group.unified), 0, *limit);
      if (!tightest || left < tightest->left_bytes)
        tightest = MemoryLimit{folder.substr(root.size()), *limit, left};
    });
  }
  return tightest;
}

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> smallest;
  for (const auto& group : groups(root, "cpu")) {
    each_level(group, [&](const std::string& folder) {
      // v2 has quota and period in one file, v1 in two.
      double quota = 0, period = 0;
      std::ifstream file(folder + (group.unified
                                       ? "/cpu.max"
                                       : "/cpu.cfs_quota_us"));  // "max 100000" or "-1": none
      if (!(file >> quota) || quota <= 0) return;
      if (!group.unified) file = std::ifstream(folder + "/cpu.cfs_period_us");
      if (!(file >> period) || period <= 0) return;
      smallest = std::min(smallest.value_or(quota / period), quota / period);
    });
  }
  return smallest;
}

}  // namespace dissent
