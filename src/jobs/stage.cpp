#include "jobs/stage.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <dissent/error.hpp>

#include "core/process.hpp"
#include "storage/atomic_file.hpp"
#include "storage/staged.hpp"

namespace dissent::jobs {
namespace {

namespace fs = std::filesystem;

int64_t bytes_of(const fs::path& path) {
  if (!fs::is_directory(path)) return static_cast<int64_t>(fs::file_size(path));
  int64_t sum = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.is_regular_file()) sum += static_cast<int64_t>(entry.file_size());
  return sum;
}

void copy(const std::string& folder, const std::string& path) {
  // Jobs on one node share a copy; a cache that was changed has another name there.
  const auto target = staged_name(folder, path);
  if (path_exists(target)) return;

  // The free space is checked first: a copy of a large cache would fail only after minutes.
  const int64_t bytes = bytes_of(path);
  check_free_space(folder, bytes, "a copy of " + path);

  // Copied under another name, so that a copy that exists is complete.
  const std::string own = fmt::format("{}.{}.tmp", target, this_process().pid);
  fs::remove_all(own);
  fs::copy(fs::canonical(path), own, fs::copy_options::recursive);
  std::error_code code;
  fs::rename(own, target, code);
  fs::remove_all(own);  // where another process was first
  DISSENT_CHECK(path_exists(target), kData, "{}: cannot rename a copy to this name: {}", target,
                code.message());
  fmt::print(stderr, "dissent jobs: {} copied to {}, {}\n", path, folder, byte_text(bytes));
}

}  // namespace

int stage(const std::vector<std::string>& words) {
  DISSENT_CHECK(words.size() >= 2, kUsage, "jobs stage: expected FOLDER CACHE...");
  make_folder(words[0]);

  // words: the folder, then the caches.
  for (size_t i = 1; i < words.size(); ++i) {
    try {
      copy(words[0], words[i]);
    } catch (const fs::filesystem_error& error) {
      DISSENT_FAIL(kData, "{}: cannot copy to {}: {}", words[i], words[0], error.what());
    }
  }
  return 0;
}

}  // namespace dissent::jobs
