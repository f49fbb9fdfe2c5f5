#include "data/feature_source.hpp"

#include <dissent/error.hpp>

#include <cstring>

#include "data/datasets/registry.hpp"
#include "data/datasets/synthetic.hpp"

namespace dissent {
namespace {

FeatureSource synthetic_source(const ImageDataOptions& data) {
  const int64_t classes = data.classes.value_or(1000);
  auto set = std::make_shared<SyntheticSet>(SyntheticOptions{
      .seed = static_cast<uint64_t>(data.seed), .rows = data.rows, .dim = data.dim, .classes = classes, .test = data.split == "test"});
  return {.name = data.dataset + "/" + data.split,
          .rows = data.rows,
          .dim = data.dim,
          .classes = classes,
          .features = [set](int64_t pass, int64_t first, int64_t count) { return set->features(pass, first, count); },
          .labels = [set](int64_t first, int64_t count) { return set->labels(first, count); }};
}

// value / 255 of the images of rows [first, first + count): [count, dim] f32.
at::Tensor pixel_features(const ImageSource& set, int64_t dim, int64_t first, int64_t count) {
  auto pixels = at::empty({count, dim}, at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    const auto image = set.image(first + i);
    DISSENT_CHECK(image.numel() == dim, kData, "{}: image {} is [{}], the first has {} values: the trunk pixels needs images of one size", set.name(), first + i,
                  fmt::join(image.sizes(), ", "), dim);
    std::memcpy(pixels.data_ptr<uint8_t>() + i * dim, image.const_data_ptr<uint8_t>(), dim);
  }
  return pixels.to(at::kFloat).div_(255);  // of no images too: a rank may have no rows of a shard
}

FeatureSource pixel_source(const ImageDataOptions& data) {
  const std::shared_ptr<ImageSource> set = open_image_source(data);
  const int64_t dim = set->rows() > 0 ? set->image(0).numel() : 0;
  return {.name = set->name(),
          .rows = set->rows(),
          .dim = dim,
          .classes = set->classes(),
          .features = [set, dim](int64_t, int64_t first, int64_t count) { return pixel_features(*set, dim, first, count); },
          .labels = [set](int64_t first, int64_t count) { return set->labels().narrow(0, first, count); }};
}

}  // namespace

FeatureSource open_source(const ImageDataOptions& data, const TrunkOptions& trunk) {
  const bool made = data.list.empty() && find_dataset(data.dataset).open == nullptr;
  DISSENT_CHECK(made == (trunk.model == "none"), kUsage, "data.dataset = \"{}\" goes with trunk.model = {}, found \"{}\"", data.dataset,
                made ? "\"none\": its rows are features already" : "\"pixels\": it has images", trunk.model);
  return made ? synthetic_source(data) : pixel_source(data);
}

}  // namespace dissent
