#include "cli/checks.hpp"

#include <string>
#include "data/open_images.hpp"

#include <fmt/format.h>

#include "storage/feature_cache.hpp"

namespace dissent::cli {

void check_images(const std::string& table, const ImageDataOptions& data, Files& files) {
  const auto place = check_image_source(data);
  files.reads(table + ".list", place.list);
  files.reads(table + ".root", place.folder, place.obtain);

  // Everything that decides what opening finds is in the subject, so that rows of a sheet with one
  // set open it once.
  const bool list = !place.list.empty();
  files.check_file(table + (list ? ".list" : ".root"), list ? place.list : place.folder,
                   fmt::format("images\n{}\n{}\n{}\n{}\n{}\n{}\n{}", data.dataset, data.split,
                               data.list, data.root, data.classes.value_or(0),
                               data.ignore_label ? std::to_string(*data.ignore_label) : "none",
                               data.allow_empty),
                   [&] { open_image_source(data); });
}

void check_features(const std::string& key, const std::string& path, Files& files) {
  files.reads(key, path);

  // A pattern is expanded by the verb itself, when the earlier rows have written its files.
  if (!path.empty() && path.find_first_of("*?[") == std::string::npos)
    files.check_file(key, path, "features\n" + path, [&] { FeatureCache::open(path); });
}

}  // namespace dissent::cli
