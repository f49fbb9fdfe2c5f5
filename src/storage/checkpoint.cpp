#include "storage/checkpoint.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr const char* kHashAttribute = "hash";
constexpr const char* kProgressGroup = "progress";

// Upper bound for a dataset, group or attribute without its values.
constexpr int64_t kObjectBytes = 4096;

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

at::Tensor host_copy(const at::Tensor& values) { return values.detach().cpu().contiguous(); }

std::string parameter_of(const std::string& name) {
  const std::string_view prefix = kMembersPrefix;
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

}  // namespace

CheckpointWriter::CheckpointWriter(Communicator& comm, std::string path, std::string config_text,
                                   std::string config_hash, Progress progress)
    : comm_(&comm),
      path_(std::move(path)),
      config_text_(std::move(config_text)),
      config_hash_(std::move(config_hash)),
      progress_(std::move(progress)) {}

void CheckpointWriter::add(const std::string& name, std::vector<int64_t> full_shape, int64_t first,
                           const at::Tensor& local) {
  slabs_.push_back({name, std::move(full_shape), first, local});
}

void CheckpointWriter::check_layout() const {
  // Each rank checks its own slabs and describes them.
  std::string description;
  std::vector<int64_t> places;  // first and count of each slab
  agree(*comm_, [&] {
    std::set<std::string> names;
    for (const auto& slab : slabs_) {
      DISSENT_CHECK(names.insert(slab.name).second, kInternal,
                    "{}: expected each slab once, found {} twice", path_, slab.name);
      DISSENT_CHECK(!slab.shape.empty() &&
                        slab.local.dim() == static_cast<int64_t>(slab.shape.size()) &&
                        (slab.local.size(0) == 0 ||
                         slab.local.sizes().slice(1) == at::IntArrayRef(slab.shape).slice(1)),
                    kInternal, "{}: {}: expected a part of {} on this rank, found {}", path_,
                    slab.name, shape_text(slab.shape), shape_text(slab.local.sizes()));

      // Raises for a dtype that HDF5 does not have.
      h5_type(slab.local.scalar_type());
      description += fmt::format("{} {} {}\n", slab.name, shape_text(slab.shape),
                                 at::toString(slab.local.scalar_type()));
      places.insert(places.end(), {slab.first, slab.local.size(0)});
    }
  });

  // Collective writes need the same datasets in the same order on every rank.
  const auto descriptions = all_gather_text(*comm_, description);
  for (const auto& other : descriptions)
    DISSENT_CHECK(other == descriptions[0], kInternal,
                  "{}: expected the same slabs on every rank, found\n{}and\n{}", path_,
                  descriptions[0], other);

  // Gather (first, count) of each slab from each rank: sorted by `first`, the parts of a dataset
  // must follow one another without gap or overlap.
  const std::vector<int64_t> counts(comm_->size(), static_cast<int64_t>(places.size()));
  const auto gathered = comm_->all_gather(at::tensor(places, at::kLong), counts);
  const auto* all = gathered.const_data_ptr<int64_t>();
  for (size_t s = 0; s < slabs_.size(); ++s) {
    std::vector<std::pair<int64_t, int64_t>> parts;
    for (int rank = 0; rank < comm_->size(); ++rank) {
      const auto* part = all + rank * places.size() + 2 * s;
      if (part[1] > 0) parts.emplace_back(part[0], part[1]);
    }

    std::sort(parts.begin(), parts.end());
    int64_t covered = 0;
    for (const auto& [first, count] : parts) covered = first == covered ? covered + count : -1;
    DISSENT_CHECK(covered == slabs_[s].shape[0], kInternal,
                  "{}: {}: expected parts of the ranks that cover {} rows without gap or overlap, "
                  "found (first, count) = [{}]",
                  path_, slabs_[s].name, slabs_[s].shape[0], fmt::join(parts, ", "));
  }
}

void CheckpointWriter::create(const std::string& temporary) const {
  // An upper bound of the file's size, so that a full disk is found before HDF5 creates the file.
  int64_t bytes = static_cast<int64_t>(config_text_.size()) +
                  kObjectBytes * static_cast<int64_t>(8 + progress_.size() + slabs_.size());
  for (const auto& slab : slabs_)
    bytes += c10::multiply_integers(slab.shape) * slab.local.element_size();

  auto file = h5_create(temporary, bytes);
  h5_write_format(file, {kCheckpointFormat, kCheckpointVersion}, temporary);
  h5_write_text(file, kConfigDataset, config_text_, temporary);
  h5_write_attribute(file, kConfigDataset, kHashAttribute, config_hash_, temporary);
  h5_add_group(file, kProgressGroup, temporary);
  for (const auto& [key, value] : progress_)
    h5_write_attribute(file, kProgressGroup, key, value, temporary);

  // The slabs get their space now and their values from all ranks later.
  for (const auto& slab : slabs_)
    h5_add_dataset(file, slab.name, slab.shape, slab.local.scalar_type(), temporary);

  file.close(temporary);
  reserve_space(temporary);
}

void CheckpointWriter::write_slabs(const std::string& temporary) const {
  UniqueHandle file;
  agree(*comm_, [&] { file = h5_open_shared(temporary, *comm_); });
  std::vector<DataRange> ranges;

  // After a failed write the file is not closed: H5Fclose waits for all ranks inside HDF5, retries
  // the write on the failing disk and never returns (h5_start_before_mpi).
  for (const auto& slab : slabs_) {
    agree(*comm_, [&] {
      h5_write_rows(file, slab.name, slab.first, host_copy(slab.local), *comm_, temporary);
    });
  }

  // Each rank reads its own rows back: a write that MPI lost is found here (h5_check_rows).
  agree(*comm_, [&] { h5_flush(file, temporary); });
  for (const auto& slab : slabs_) {
    agree(*comm_,
          [&] { h5_check_rows(file, slab.name, slab.first, host_copy(slab.local), temporary); });
  }

  // The seal is appended to the closed file and needs to know where the values lie.
  agree(*comm_, [&] { ranges = h5_data_ranges(file, temporary); });
  agree(*comm_, [&] { file.close(temporary); });
  write_seal(temporary, std::move(ranges), *comm_);
}

void CheckpointWriter::commit() {
  check_layout();
  const std::string temporary = temporary_name(path_);
  try {
    // One rank creates the datasets and allocates their disk space: a full disk is detected here,
    // before any collective write.
    agree(*comm_, [&] {
      if (comm_->rank() == 0) create(temporary);
    });
    write_slabs(temporary);

    // Only now is the previous checkpoint replaced, by one rename that either happens or does not.
    agree(*comm_, [&] {
      if (comm_->rank() == 0) sync_and_rename(temporary, path_);
    });
  } catch (const Error&) {
    std::error_code ignored;
    if (comm_->rank() == 0) std::filesystem::remove(temporary, ignored);
    throw;
  }
}

CheckpointReader::CheckpointReader(std::string path) : path_(std::move(path)) {
  DISSENT_CHECK(path_exists(path_), kData, "{}: no such checkpoint", path_);
  file_ = h5_open(path_);

  // A file that is not a checkpoint is reported as such, before any key is missed.
  const auto format = h5_read_format(file_, path_);
  DISSENT_CHECK(format.name == kCheckpointFormat, kData,
                "{}: not a checkpoint: expected the format \"{}\", found {}", path_,
                kCheckpointFormat, format.name.empty() ? "none" : '"' + format.name + '"');
  DISSENT_CHECK(format.version >= 1 && format.version <= kCheckpointVersion, kData,
                "{}: expected a checkpoint of version 1 .. {}, found {}", path_, kCheckpointVersion,
                format.version < 0 ? "none" : std::to_string(format.version));

  // The configuration that the run was trained with, and its hash.
  config_text_ = h5_read_text(file_, kConfigDataset, path_);
  const auto hash = h5_read_attribute(file_, kConfigDataset, kHashAttribute, path_);
  DISSENT_CHECK(std::holds_alternative<std::string>(hash), kData,
                "{}: hash of the configuration: expected a text, found another value", path_);
  config_hash_ = std::get<std::string>(hash);

  // Counters of the run.
  DISSENT_CHECK(h5_has(file_, kProgressGroup), kData, "{}: expected a group '{}', found none",
                path_, kProgressGroup);
  for (const auto& name : h5_attribute_names(file_, kProgressGroup, path_))
    progress_[name] = h5_read_attribute(file_, kProgressGroup, name, path_);
}

int64_t CheckpointReader::integer(const std::string& key) const {
  const auto at = progress_.find(key);
  DISSENT_CHECK(at != progress_.end() && std::holds_alternative<int64_t>(at->second), kData,
                "{}: expected an integer '{}' in its progress, found none", path_, key);
  return std::get<int64_t>(at->second);
}

double CheckpointReader::number(const std::string& key) const {
  const auto at = progress_.find(key);
  DISSENT_CHECK(at != progress_.end() && !std::holds_alternative<std::string>(at->second), kData,
                "{}: expected a number '{}' in its progress, found none", path_, key);
  if (const auto* value = std::get_if<int64_t>(&at->second)) return static_cast<double>(*value);
  return std::get<double>(at->second);
}

std::string CheckpointReader::text(const std::string& key) const {
  const auto at = progress_.find(key);
  DISSENT_CHECK(at != progress_.end() && std::holds_alternative<std::string>(at->second), kData,
                "{}: expected a text '{}' in its progress, found none", path_, key);
  return std::get<std::string>(at->second);
}

std::vector<std::string> CheckpointReader::names(const std::string& group) const {
  return h5_dataset_names(file_, group, path_);
}
std::vector<int64_t> CheckpointReader::shape(const std::string& name) const {
  return h5_info(file_, name, path_).shape;
}
at::ScalarType CheckpointReader::dtype(const std::string& name) const {
  return h5_info(file_, name, path_).dtype;
}

at::Tensor CheckpointReader::read_slab(const std::string& name, int64_t first,
                                       int64_t count) const {
  const auto rows = shape(name).at(0);
  DISSENT_CHECK(first >= 0 && count >= 0 && first + count <= rows, kData,
                "{0}: {1}: expected members {3} .. {4}, found {2} members", path_,
                parameter_of(name), rows, first, first + count - 1);
  return h5_read(file_, name, first, count, path_);
}

void CheckpointReader::expect_shape(const std::string& name, int64_t members,
                                    const std::vector<int64_t>& member_shape,
                                    int64_t member) const {
  // The shape of a member is compared before their number: a wrong network is the more useful
  // message when both differ.
  const auto found = shape(name);
  const at::IntArrayRef found_member = at::IntArrayRef(found).slice(found.empty() ? 0 : 1);
  DISSENT_CHECK(found_member == at::IntArrayRef(member_shape), kData,
                "{0}: member {1}: {2}: expected {4} as in this configuration, found {3}", path_,
                member, parameter_of(name), shape_text(found_member), shape_text(member_shape));
  DISSENT_CHECK(!found.empty() && found[0] == members, kData,
                "{0}: {1}: expected {3} members as in this configuration, found {2}", path_,
                parameter_of(name), found.empty() ? 0 : found[0], members);
}

}  // namespace dissent
