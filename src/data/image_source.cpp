#include "data/image_source.hpp"

#include <dissent/error.hpp>

#include "data/datasets/image_list.hpp"
#include "data/datasets/registry.hpp"

namespace dissent {

std::string ImageSource::image_name(int64_t row) const {
  return fmt::format("{}, image {}", name_, row);
}

at::Tensor ImageSource::image_for(int64_t row, const WantedPart&) const { return image(row); }

ImagePlace check_image_source(const ImageDataOptions& options) {
  if (!options.list.empty()) return {options.list, options.root, ""};
  const auto& spec = find_dataset(options.dataset);
  DISSENT_CHECK(spec.open, kUsage,
                "dataset {} has features, no images: it goes with trunk.model = \"none\"",
                spec.name);
  const std::string folder = options.root.empty() ? spec.default_root : options.root;
  DISSENT_CHECK(!folder.empty(), kUsage, "dataset {} needs data.root: {}", spec.name, spec.obtain);
  DISSENT_CHECK(spec.splits.empty() || std::find(spec.splits.begin(), spec.splits.end(),
                                                 options.split) != spec.splits.end(),
                kUsage, "dataset {} has no split '{}'; there are {}", spec.name, options.split,
                fmt::join(spec.splits, ", "));
  return {"", folder, spec.obtain};
}

std::unique_ptr<ImageSource> open_image_source(const ImageDataOptions& options) {
  const auto place = check_image_source(options);
  if (!options.list.empty()) return open_image_list(options);
  const auto& spec = find_dataset(options.dataset);
  return spec.open(spec, place.folder, options);
}

}  // namespace dissent
