#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/compute.hpp"
#include "storage/cache_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage/feature_cache.hpp"
#include "storage/h5.hpp"
#include "storage/results.hpp"
#include "storage/run_folder.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;

// Checks all checksums of one HDF5 file; the metadata was checked when it was opened.
void verify_file(const std::string& path) {
  const auto file = h5_open(path);
  const auto seal = h5_seal(file);
  if (!seal) {
    fmt::print("  no checksums: written by another program, or by an old version of Dissent\n");
    return;
  }
  seal->verify();
  fmt::print("  checksums correct: the metadata and {} blocks of {} datasets\n", seal->blocks(),
             seal->datasets());
}

void inspect_cache(const std::string& path, bool verify) {
  const auto cache = FeatureCache::open(path);
  const auto& spec = cache.spec();
  fmt::print(
      "{}: feature cache\n  rows       {} ({} passes of {})\n  features   {} {}\n  classes    {}\n",
      path, cache.rows(), spec.passes, spec.rows_per_pass, spec.dim, dtype_name(spec.dtype),
      spec.classes);

  // A single HDF5 file of SED has none of these.
  for (const auto& [key, value] : {std::pair("source", spec.source),
                                   {"trunk", spec.trunk},
                                   {"weights", spec.weights},
                                   {"transform", spec.transform}})
    if (!value.empty()) fmt::print("  {:<10} {}\n", key, value);

  fmt::print("  shards     {}\n", cache.shards().size());
  for (const auto& shard : cache.shards())
    fmt::print("    {}  rows {} .. {}  {}\n", shard.file, shard.first_row,
               shard.first_row + shard.rows - 1, shard.checksum);

  if (!verify) return;
  cache.verify();

  // The checksums of a cache are in its manifest, those of a single file in its seal.
  if (fs::is_directory(path))
    fmt::print("  checksums correct\n");
  else
    verify_file(path);
}

// A trace, saliency maps, logits or a fitted state: lists its datasets.
void inspect_other(const std::string& path, const std::string& format, bool verify) {
  const auto file = h5_open(path);
  fmt::print("{}: {}\n", path, format);
  for (const auto& name : h5_dataset_names(file, "/", path)) {
    if (name == kConfigDataset) continue;
    const auto info = h5_info(file, name, path);
    fmt::print("    {:<34} {} [{}]\n", name, at::toString(info.dtype), fmt::join(info.shape, ", "));
  }
  if (verify) verify_file(path);
}

void inspect_checkpoint(const std::string& path, bool verify, bool show_config) {
  // Names and shapes come from the file's headers: values are read only for --verify.
  const CheckpointReader file(path);
  fmt::print("{}: checkpoint, configuration {}\n", path, file.config_hash());

  for (const auto& [key, value] : file.progress())
    std::visit([&](const auto& v) { fmt::print("  {:<18} {}\n", key, v); }, value);

  for (const std::string prefix :
       {kMembersPrefix, kAveragePrefix, kBuffersPrefix, kOptimizerPrefix, kDiscriminatorPrefix}) {
    const auto names = file.names(prefix.substr(0, prefix.size() - 1));
    if (names.empty()) continue;
    fmt::print("  {}\n", prefix);
    for (const auto& name : names) {
      const std::string full = prefix + name;
      fmt::print("    {:<34} {} [{}]\n", name, at::toString(file.dtype(full)),
                 fmt::join(file.shape(full), ", "));
    }
  }

  if (verify) verify_file(path);
  if (show_config) fmt::print("\n{}", file.config_text());
}

void inspect_results(const std::string& path) {
  const auto rows = read_results(path);
  fmt::print("{}: {} results\n", path, rows.size());
  for (const auto& row : rows)
    fmt::print("  {:<14} {:<10} {:<18} {:<9} {:<12} {:<9} {:.6f}  n {}\n", row.run, row.predictor,
               row.dataset, row.shift, row.score, row.metric, row.value, row.n);
}

void inspect(const std::string& path, bool verify, bool show_config) {
  DISSENT_CHECK(fs::exists(path), kData, "{}: expected a file or folder, found nothing", path);

  // A folder is a run if it has a checkpoint, else a cache.
  if (fs::is_directory(path) && fs::exists(path + "/" + kCheckpointFile))
    return inspect_checkpoint(path + "/" + kCheckpointFile, verify, show_config);
  if (fs::is_directory(path)) return inspect_cache(path, verify);
  if (fs::path(path).extension() == ".csv") return inspect_results(path);

  // A single HDF5 file: one of ours says what it is, any other one is taken for a SED file.
  std::string format;
  {
    const auto file = h5_open(path);
    format = h5_read_format(file, path).name;
    if (h5_has(file, "members")) format = kCheckpointFormat;
  }
  if (format == kCheckpointFormat) return inspect_checkpoint(path, verify, show_config);
  if (format.starts_with("dissent-") && format != kShardFormat)
    return inspect_other(path, format, verify);
  inspect_cache(path, verify);
}

}  // namespace

int run_inspect(Runtime& runtime, const CommandLine& line) {
  agree(runtime.world(), [&] {
    if (runtime.world().rank() != 0) return;
    for (const auto& path : line.positional())
      inspect(path, line.flag("verify"), line.flag("config"));
  });
  return 0;
}

}  // namespace dissent::cli
