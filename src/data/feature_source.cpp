#include "data/feature_source.hpp"

#include <dissent/error.hpp>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <system_error>

#include <fmt/ranges.h>

#include "data/constant_images.hpp"
#include "data/datasets/registry.hpp"
#include "data/datasets/synthetic.hpp"
#include "data/open_images.hpp"

namespace dissent {
namespace {

FeatureSource synthetic_source(const ImageDataOptions& data) {
  // For a generated set data.rows is its size, so a slice ("0:100") has no meaning here.
  const int64_t classes = data.classes.value_or(kSyntheticClasses);
  int64_t rows = kSyntheticRows;
  const auto* end = data.rows.data() + data.rows.size();
  const auto [rest, error] = std::from_chars(data.rows.data(), end, rows);
  DISSENT_CHECK(data.rows.empty() || (error == std::errc() && rest == end && rows >= 1), kUsage,
                "data.rows: expected a number of rows for synthetic, found \"{}\"", data.rows);

  // The two functions share the set, which lives as long as one of them does.
  auto set =
      std::make_shared<SyntheticSet>(SyntheticOptions{.seed = static_cast<uint64_t>(data.seed),
                                                      .rows = rows,
                                                      .dim = data.dim,
                                                      .classes = classes,
                                                      .test = data.split == kTestSplit});
  return {.name = set_name(data) + "/" + data.split,
          .rows = rows,
          .dim = data.dim,
          .classes = classes,
          .draws = true,
          .trunk = kNoTrunk,
          .features = [set](int64_t pass, int64_t first,
                            int64_t count) { return set->features(pass, first, count); },
          .labels = [set](int64_t first, int64_t count) { return set->labels(first, count); }};
}

// value / 255 of the images of rows [first, first + count): [count, dim] f32.
at::Tensor pixel_features(const ImageSource& set, int64_t dim, int64_t first, int64_t count,
                          ConstantImages& constant) {
  auto pixels = at::empty({count, dim}, at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    const auto image = set.image(first + i);
    DISSENT_CHECK(image.numel() == dim, kData,
                  "{0}: image {1}: expected {3} values as in the first image (trunk.model = "
                  "\"pixels\" needs images of one size), found [{2}]",
                  set.name(), first + i, fmt::join(image.sizes(), ", "), dim);
    if (is_constant(image)) constant.add(set, first + i);
    std::memcpy(pixels.data_ptr<uint8_t>() + i * dim, image.const_data_ptr<uint8_t>(), dim);
  }
  return pixels.to(at::kFloat).div_(255);  // also with no rows, as a rank may have none of a shard
}

FeatureSource pixel_source(const ImageDataOptions& data) {
  // The counter of constant images is shared by all calls, so that a cache of several passes counts
  // an image once.
  const std::shared_ptr<ImageSource> set = open_images(data);
  const auto constant = std::make_shared<ConstantImages>();

  // All images must be as large as the first one, which pixel_features() checks.
  const int64_t dim = set->rows() > 0 ? set->image(0).numel() : 0;
  return {.name = set->name(),
          .rows = set->rows(),
          .dim = dim,
          .classes = set->classes(),
          .trunk = kPixelTrunk,
          .features =
              [set, dim, constant](int64_t, int64_t first, int64_t count) {
                return pixel_features(*set, dim, first, count, *constant);
              },
          .labels = [set](int64_t first,
                          int64_t count) { return set->labels().narrow(0, first, count); }};
}

}  // namespace

bool has_no_images(const ImageDataOptions& data) {
  return data.list.empty() && find_dataset(set_name(data)).open == nullptr;
}

void check_source(const ImageDataOptions& data, const std::string& trunk) {
  const bool made = has_no_images(data);
  DISSENT_CHECK(made == (trunk == kNoTrunk), kUsage,
                "trunk.model: expected {1} (data.dataset = \"{0}\"), found \"{2}\"", set_name(data),
                made ? "\"none\", since the set has features"
                     : "\"pixels\" or a network, since the set has images",
                trunk);

  // Transforms make a network's input, so they need a network.
  DISSENT_CHECK(!data.has_transform(), kUsage,
                "data.transform: expected \"none\" where trunk.model is \"{1}\", found \"{0}\"",
                data.transform, trunk);
}

FeatureSource open_source(const ImageDataOptions& data, const std::string& trunk) {
  check_source(data, trunk);
  return has_no_images(data) ? synthetic_source(data) : pixel_source(data);
}

}  // namespace dissent
