#pragma once
#include <optional>
#include <string>

#include "core/options.hpp"

namespace dissent {

/// [trunk]
struct TrunkOptions {
  std::string model = "pixels";
  std::string weights = {};
  std::optional<int64_t> member = {};
  std::string prefix = {};
  std::string cut = "features";
  std::string precision = "f32";
  int64_t batch_size = 32;

  bool is_network() const { return model != "pixels" && model != "none"; }
};

const TableSpec& trunk_table();

}  // namespace dissent
