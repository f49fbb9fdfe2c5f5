#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "storage/residency.hpp"
#include "train/config/head_config.hpp"
#include "train/heads/train_rows.hpp"

namespace dissent {

/// The rows for training on cached features, loaded once for all runs.
struct HeadData {
  TrainRows train;
  std::optional<HostResidency> validation;
  std::optional<HostResidency> unlabelled;
  int64_t dim = 0;
  int64_t classes = 0;
  std::string identity;  ///< "train 60000x784 9c21..., unlabelled ...": identifies the contents of
                         ///< the caches, independent of their paths
  /// Frees the shared memory. Collective over the node.
  void close();
};

/// Opens the caches of [data] and checks everything but the features themselves: rows, dimensions,
/// labels, networks, the subset. Error::kData. Not collective.
void check_head_data(const CacheDataOptions& options);

/// Opens, checks (rows, dimensions, labels, finite values) and loads the caches of [data].
/// run_node  the ranks of this node that train one run together (grid.run->split_by_node()); with
///           data.residency = "stream" they read chunks together
/// Error::kData, the same on every rank. Collective over world and node.
HeadData load_head_data(Communicator& world, Communicator& node, Communicator& run_node,
                        const CacheDataOptions& options, at::Device device = at::kCPU);

}  // namespace dissent
