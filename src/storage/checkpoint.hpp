#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/h5.hpp"

namespace dissent {

/// Format of a checkpoint. Version 1 had no seal.
inline constexpr const char* kCheckpointFormat = "dissent-checkpoint";
inline constexpr int64_t kCheckpointVersion = 2;
/// Prefixes of dataset names: the parameters of all members, the moving average of these,
/// BatchNorm's buffers, the optimiser's state, and the discriminator of DICE.
inline constexpr const char* kMembersPrefix = "members/";
inline constexpr const char* kAveragePrefix = "average/";
inline constexpr const char* kBuffersPrefix = "buffers/";
inline constexpr const char* kOptimizerPrefix = "optimizer/";
inline constexpr const char* kDiscriminatorPrefix = "discriminator/";
/// Step counts of the members.
inline constexpr const char* kOptimizerSteps = "optimizer/steps";
/// The dataset with the configuration, which our other HDF5 files have too.
inline constexpr const char* kConfigDataset = "config";

/// Counters and texts of a run's progress: epoch, step, best so far.
using Progress = std::map<std::string, H5Value>;

/// Writes a checkpoint from slabs. A slab is rows [first, first + m) of a dataset [M, ...]: the m
/// members of one rank; the file does not record which rank held which. Names:
/// members/<parameter>, optimizer/<state>/<parameter>, optimizer/steps, ...
///   CheckpointWriter writer(members_group, "run/checkpoint.h5", config_text, config_hash,
///       {{"epoch", int64_t{3}}, {"best", 0.87}});
///   writer.add("members/head.weight", {M, C, D}, first_member, weight);
///       // on every rank, in the same order
///   writer.commit();
class CheckpointWriter {
 public:
  /// Writes nothing yet. Texts and progress of rank 0 are the ones written. Not collective.
  CheckpointWriter(Communicator& comm, std::string path, std::string config_text,
                   std::string config_hash, Progress progress);
  /// Registers a slab: local [m, ...] of f32, f64, f16, bf16, i32, i64 or u8, on any device, m = 0
  /// for a rank without members. It is read in commit() and must not change before. A tensor that
  /// is not split by member is given whole by one rank and empty by the others. Not collective.
  void add(const std::string& name, std::vector<int64_t> full_shape, int64_t first,
           const at::Tensor& local);
  /// Writes to a temporary name, flushes and renames: the previous checkpoint is replaced only when
  /// this one is on the disk, and stays if anything fails.
  /// Collective; the same error on every rank: Error::kData (disk full, folder missing),
  /// Error::kInternal (slabs that overlap or leave a gap, ranks that gave different names, shapes
  /// or dtypes).
  void commit();

 private:
  struct Slab {
    std::string name;
    std::vector<int64_t> shape;
    int64_t first;
    at::Tensor local;
  };
  void check_layout() const;
  void create(const std::string& temporary) const;
  void write_slabs(const std::string& temporary) const;
  Communicator* comm_;
  std::string path_, config_text_, config_hash_;
  Progress progress_;
  std::vector<Slab> slabs_;
};

/// Reads a checkpoint. Not collective: any number of ranks may read, each independently. Errors are
/// Error::kData with the file and what does not fit.
class CheckpointReader {
 public:
  /// Opens the file and reads format, configuration and progress; values are read by read_slab.
  explicit CheckpointReader(std::string path);
  const std::string& path() const { return path_; }
  /// The configuration that the run was trained with, as resolved TOML, and its hash.
  const std::string& config_text() const { return config_text_; }
  const std::string& config_hash() const { return config_hash_; }
  const Progress& progress() const { return progress_; }
  /// One value of the progress; Error::kData if it is missing or has another type (number() also
  /// returns integers).
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::string text(const std::string& key) const;
  bool has(const std::string& name) const { return h5_has(file_, name); }
  /// Names of the datasets below a group, "members" -> {"block.norm.weight", ...}, sorted; empty if
  /// there is no such group.
  std::vector<std::string> names(const std::string& group) const;
  /// Shape [M, ...] and dtype of a dataset, from its header.
  std::vector<int64_t> shape(const std::string& name) const;
  at::ScalarType dtype(const std::string& name) const;
  /// Members [first, first + count): [count, ...] in the file's dtype, host.
  at::Tensor read_slab(const std::string& name, int64_t first, int64_t count) const;
  /// Throws unless the dataset is [members, ...member_shape]: "member 3: head.weight: expected [10,
  /// 784] as in this configuration, found [1000, 768]".
  void expect_shape(const std::string& name, int64_t members,
                    const std::vector<int64_t>& member_shape, int64_t member = 0) const;

 private:
  std::string path_;
  UniqueHandle file_;
  std::string config_text_, config_hash_;
  Progress progress_;
};

}  // namespace dissent
