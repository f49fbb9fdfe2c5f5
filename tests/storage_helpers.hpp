// Shared by the storage tests: a temporary folder that all ranks agree on, and caches whose every
// value follows from its row.
#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/atomic_file.hpp"
#include "storage/cache_writer.hpp"
#include "storage/feature_cache.hpp"

namespace dissent::testing {

/// Made on construction, deleted at the end; rank 0's choice of name. Collective.
class TempFolder {
 public:
  explicit TempFolder(Communicator& comm) : comm_(comm) {
    static int count = 0;
    const auto own = std::filesystem::temp_directory_path() /
                     fmt::format("dissent_test_{}_{}", ::getpid(), count++);
    path_ = broadcast_text(comm, own.string(), 0);
    if (comm.rank() == 0) std::filesystem::create_directories(path_);
    comm.barrier();
  }
  ~TempFolder() {
    std::error_code ignored;
    if (comm_.rank() == 0) std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  Communicator& comm_;
  std::string path_;
};

/// While it lives, writes of this process past `bytes` of any file fail ("File too large"), as they
/// would on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

/// Runs the function, which has to throw an Error of this kind, and gives its message.
inline std::string error_of(ErrorKind kind, const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "in: " << (text)

/// 3 passes of 1000 rows in shards of 429, so 3 shards a pass (429, 429, 142): hash blocks are cut
/// at the end of every shard.
inline CacheSpec small_spec(at::ScalarType dtype = at::kFloat) {
  CacheSpec spec;
  spec.dim = 5;
  spec.dtype = dtype;
  spec.passes = 3;
  spec.rows_per_pass = 1000;
  spec.classes = 10;
  spec.shard_rows = 429;
  spec.source = "made_up/train";
  spec.trunk = "none \"quoted\" \\ path";
  spec.transform = "identity";
  spec.configuration = "[cache]\npasses = 3\n";
  spec.configuration_hash = "0123";
  return spec;
}

/// Features [count, D] f32 of rows [first, first + count) of a pass.
inline at::Tensor features_of(const CacheSpec& spec, int64_t pass, int64_t first, int64_t count) {
  const auto row = at::arange(first, first + count, at::kDouble).unsqueeze(1),
             column = at::arange(spec.dim, at::kDouble);
  return (row * 0.37 + column * 1.7 + pass * 0.11).sin().mul(3).to(at::kFloat);
}
inline at::Tensor index_of(int64_t first, int64_t count) {
  return at::arange(first, first + count, at::kLong);
}
inline at::Tensor labels_of(const CacheSpec& spec, int64_t first, int64_t count) {
  return index_of(first, count).remainder(spec.classes);
}

/// Writes shards until there are none left or `shards` have been written; finishes in the first
/// case.
inline CacheWriter::State write_cache(Communicator& comm, const std::string& path,
                                      const CacheSpec& spec, int64_t shards = 1 << 20,
                                      bool force = false) {
  auto writer = CacheWriter::open(comm, path, spec, force);
  const auto state = writer.state();
  while (const auto part = writer.next_shard()) {
    if (shards-- == 0) return state;
    writer.write_shard(features_of(spec, part->pass, part->first_source_row, part->count),
                       labels_of(spec, part->first_source_row, part->count),
                       index_of(part->first_source_row, part->count));
  }
  writer.finish();
  return state;
}

/// What a cache of this specification holds, rounded to its dtype: [rows, D] f32.
inline at::Tensor expected_features(const CacheSpec& spec) {
  std::vector<at::Tensor> passes;
  for (int64_t pass = 0; pass < spec.passes; ++pass)
    passes.push_back(features_of(spec, pass, 0, spec.rows_per_pass));
  return at::cat(passes).to(spec.dtype).to(at::kFloat);
}

/// Takes the seal (docs/formats.md) from a file of ours and renames its format, so that it passes
/// as one of another program: its values may then be changed.
inline void remove_seal(const std::string& path) {
  const auto text = read_text(path);
  int64_t bytes = 0;
  std::memcpy(&bytes, text.data() + text.size() - 40, sizeof bytes);
  std::filesystem::resize_file(path, static_cast<uintmax_t>(bytes));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(text.find("dissent-")));
  file << "another";
}

/// Adds one to a byte of a file.
inline void change_byte(const std::string& path, int64_t position) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(position);
  const char value = static_cast<char>(file.get() + 1);
  file.seekp(position);
  file.put(value);
}

}  // namespace dissent::testing
