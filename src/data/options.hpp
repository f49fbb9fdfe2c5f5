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
/// [data] of caching and of training on images: which set
struct ImageDataOptions {
  std::string dataset = "fashion_mnist";
  std::string root;
  std::string split = "train";
  std::string list;
  bool labels = true;
  std::string rows;  ///< a number or a slice
  int64_t dim = 768;
  std::optional<int64_t> classes;
  int64_t seed = 42;
  std::string transform = "none";
  int64_t workers = 0;
  int64_t prefetch = 2;
};

const TableSpec& cache_table();
const TableSpec& image_data_table();

}  // namespace dissent
