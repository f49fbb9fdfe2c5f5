#pragma once
#include <optional>
#include <string>

#include "core/options.hpp"

namespace dissent {

/// [cache]
struct CacheOptions {
  std::string output;
  int64_t passes = 1;
  std::string dtype = "f32";
  int64_t shard_rows = 131072;
};
/// [trunk]
struct TrunkOptions {
  std::string model = "pixels";
};
/// [data] of caching and of training on images: which set
struct ImageDataOptions {
  std::string dataset = "fashion_mnist";
  std::string root;
  std::string split = "train";
  std::string list;
  bool labels = true;
  int64_t rows = 60000;
  int64_t dim = 768;
  std::optional<int64_t> classes;
  int64_t seed = 42;
};

const TableSpec& cache_table();
const TableSpec& trunk_table();
const TableSpec& image_data_table();

}  // namespace dissent
