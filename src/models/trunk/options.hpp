#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/device_math.hpp"
#include "core/options.hpp"
#include "data/options.hpp"
#include "models/networks/image_network.hpp"

namespace dissent {

/// The value of trunk.weights for new random weights.
inline constexpr const char* kRandomWeights = "random";

/// [trunk]
struct TrunkOptions {
  std::string model = kPixelTrunk;
  std::string weights = {};
  std::optional<int64_t> member = {};
  std::string prefix = {};
  std::string cut = kFeaturesCut;
  ComputePrecision precision = ComputePrecision::kF32;
  int64_t batch_size = 32;

  bool is_network() const { return model != kPixelTrunk && model != kNoTrunk; }
  bool has_random_weights() const { return weights == kRandomWeights; }
};

/// The keys of [trunk], bound to TrunkOptions.
const TableSpec& trunk_table();

}  // namespace dissent
