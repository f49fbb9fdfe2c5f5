#include "data/transforms/transform.hpp"

#include <dissent/tensor_check.hpp>

#include <cmath>

#include "core/parallel.hpp"

namespace dissent {
namespace {

constexpr int64_t kChannels = 3;
constexpr int64_t kTaskRows = 8;
using Kind = TransformOptions::Kind;
using LookUp = std::array<std::array<float, 256>, kChannels>;

// In f32 and in this order, as torchvision's ToTensor and Normalize.
LookUp values_of(const Normalisation& normalisation) {
  LookUp table;
  for (int64_t c = 0; c < kChannels; ++c)
    for (int v = 0; v < 256; ++v)
      table[c][v] = (static_cast<float>(v) / 255.0f - static_cast<float>(normalisation.mean[c])) / static_cast<float>(normalisation.std[c]);
  return table;
}

// round(edge - size) / 2, half to even, as Python's round; negative where the image has to be padded, which rounds down on the left.
int64_t middle(int64_t edge, int64_t size) {
  if (edge < size) return -((size - edge) / 2);
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(edge - size) / 2));
}

// Where the result's pixels come from: window row y is at top + y of a frame of size x size whose pixel (0, 0) is at (frame_top, frame_left) of the image;
// mirrored: inside the frame.
struct Window {
  int64_t size, top, left, frame_top, frame_left;
  bool flip;
};

// [size, size, 3]
at::Tensor cut(const at::Tensor& image, const Window& window) {
  const int64_t height = image.size(0), width = image.size(1), channels = image.size(2), size = window.size;
  auto result = at::empty({size, size, kChannels}, at::kByte);
  const auto* pixels = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  const auto inside = [](int64_t position, int64_t extent) { return position >= 0 && position < extent; };
  for (int64_t y = 0; y < size; ++y) {
    const int64_t frame_y = window.top + y, image_y = window.frame_top + frame_y;
    const bool row = inside(frame_y, size) && inside(image_y, height);
    for (int64_t x = 0; x < size; ++x) {
      const int64_t frame_x = window.left + x, image_x = window.frame_left + (window.flip ? size - 1 - frame_x : frame_x);
      const bool pixel = row && inside(frame_x, size) && inside(image_x, width);
      for (int64_t c = 0; c < kChannels; ++c) *out++ = pixel ? pixels[(image_y * width + image_x) * channels + std::min(c, channels - 1)] : 0;
    }
  }
  return result;
}

void normalise(const at::Tensor& image, const LookUp& table, float* out) {
  const auto* pixels = image.const_data_ptr<uint8_t>();
  for (int64_t c = 0; c < kChannels; ++c)
    for (int64_t i = c; i < image.numel(); i += kChannels) *out++ = table[static_cast<size_t>(c)][pixels[i]];
}

// [H, W, C], contiguous.
at::Tensor checked(const at::Tensor& image) {
  const bool fits = image.defined() && image.scalar_type() == at::kByte && image.device().is_cpu() && image.numel() > 0 &&
                    (image.dim() == 2 || (image.dim() == 3 && (image.size(2) == 1 || image.size(2) == kChannels)));
  DISSENT_CHECK(fits, kUsage, "transform: image: wanted [H, W], [H, W, 1] or [H, W, 3] Byte cpu, given {}", describe(image));
  return (image.dim() == 2 ? image.unsqueeze(2) : image).contiguous();
}

at::Tensor cropped(const TransformOptions& options, const at::Tensor& image, const TransformDraws& draws) {
  if (options.kind == Kind::kResizedCrop) {
    const bool fits = draws.top >= 0 && draws.left >= 0 && draws.height >= 1 && draws.width >= 1 && draws.top + draws.height <= image.size(0) &&
                      draws.left + draws.width <= image.size(1);
    DISSENT_CHECK(fits, kUsage, "transform: window: wanted one inside {}, given {} x {} at ({}, {})", describe(image), draws.height, draws.width, draws.top, draws.left);
    const auto part = image.narrow(0, draws.top, draws.height).narrow(1, draws.left, draws.width).contiguous();
    return cut(resize(part, options.size, options.size, options.interpolation), {options.size, 0, 0, 0, 0, draws.flip});
  }
  const auto resized = resize_shorter(image, options.resize, options.interpolation);
  Window window{options.size, 0, 0, middle(resized.size(0), options.size), middle(resized.size(1), options.size), draws.flip};
  if (options.kind == Kind::kPaddedCrop) {
    const bool fits = draws.top >= 0 && draws.left >= 0 && draws.top <= 2 * options.pad && draws.left <= 2 * options.pad;
    DISSENT_CHECK(fits, kUsage, "transform: window: wanted top and left in 0 .. {}, given ({}, {})", 2 * options.pad, draws.top, draws.left);
    window.top = draws.top - options.pad;
    window.left = draws.left - options.pad;
  }
  return cut(resized, window);
}

void apply(const TransformOptions& options, at::Tensor image, TransformDraws draws, const LookUp& table, float* out) {
  const bool corrupted = options.corruption.name != "none";
  DISSENT_CHECK(draws.values || !(options.aug_mix || options.rand_augment || corrupted), kUsage,
                "transform: draws: wanted values to draw from (draw_transform gives them), given none");
  const bool first = options.rand_augment && options.rand_augment->first;
  if (first) image = rand_augment(*options.rand_augment, image.expand({-1, -1, kChannels}).contiguous(), *draws.values);
  image = cropped(options, image, draws);
  if (options.aug_mix) image = aug_mix(*options.aug_mix, image, *draws.values);
  if (options.rand_augment && !first) image = rand_augment(*options.rand_augment, image, *draws.values);
  if (corrupted) image = corrupt(image, options.corruption.name, options.corruption.severity, *draws.values);
  normalise(image, table, out);
}

int64_t below(Random& random, int64_t bound) { return random.below(static_cast<uint32_t>(bound)); }
int64_t nearest_integer(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

TransformDraws draw_window(const TransformOptions& options, int64_t height, int64_t width, Random& random) {
  constexpr int kTries = 10;
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  const auto uniform = [&](double low, double high) { return low + (high - low) * random.uniform(); };
  TransformDraws draws;
  for (int i = 0; i < kTries; ++i) {
    const double area = h * w * uniform(options.scale[0], options.scale[1]);
    const double ratio = std::exp(uniform(std::log(options.ratio[0]), std::log(options.ratio[1])));
    draws.width = nearest_integer(std::sqrt(area * ratio));
    draws.height = nearest_integer(std::sqrt(area / ratio));
    if (draws.width < 1 || draws.height < 1 || draws.width > width || draws.height > height) continue;
    draws.top = below(random, height - draws.height + 1);
    draws.left = below(random, width - draws.width + 1);
    return draws;
  }
  draws.height = w / h < options.ratio[0] ? nearest_integer(w / options.ratio[0]) : height;
  draws.width = w / h > options.ratio[1] ? nearest_integer(h * options.ratio[1]) : width;
  draws.top = (height - draws.height) / 2;
  draws.left = (width - draws.width) / 2;
  return draws;
}

}  // namespace

TransformDraws draw_transform(const TransformOptions& options, int64_t height, int64_t width, Random random) {
  TransformDraws draws;
  if (options.kind != Kind::kCenterCrop) {
    const bool flip = random.below(2) == 1;
    if (options.kind == Kind::kResizedCrop) {
      draws = draw_window(options, height, width, random);
    } else {
      draws.top = below(random, 2 * options.pad + 1);
      draws.left = below(random, 2 * options.pad + 1);
    }
    draws.flip = flip;
  }
  draws.values = random;
  return draws;
}

at::Tensor transform_image(const TransformOptions& options, const at::Tensor& image, const TransformDraws& draws) {
  auto result = at::empty({kChannels, options.size, options.size}, at::kFloat);
  apply(options, checked(image), draws, values_of(options.normalisation), result.data_ptr<float>());
  return result;
}

at::Tensor transform_rows(const TransformOptions& options, const at::Tensor& images, const at::Tensor& rows, uint64_t seed, uint64_t stream) {
  DISSENT_CHECK(images.defined() && images.dim() >= 3 && images.is_contiguous(), kUsage, "transform: images: wanted [N, H, W] or [N, H, W, C], contiguous, given {}",
                describe(images));
  DISSENT_CHECK(rows.defined() && rows.dim() == 1 && rows.scalar_type() == at::kLong && rows.is_contiguous(), kUsage, "transform: rows: wanted [B] Long, given {}",
                describe(rows));
  const int64_t count = rows.size(0);
  const auto* index = rows.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) check_index("transform", "rows", index[i], images.size(0));
  auto result = at::empty({count, kChannels, options.size, options.size}, at::kFloat);
  auto* out = result.data_ptr<float>();
  const auto table = values_of(options.normalisation);
  parallel_tasks((count + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
    for (int64_t i = task * kTaskRows; i < std::min(count, (task + 1) * kTaskRows); ++i) {
      const auto image = checked(images[index[i]]);
      const auto draws = draw_transform(options, image.size(0), image.size(1), Random(seed, Purpose::kCrop, stream, index[i]));
      apply(options, image, draws, table, out + i * kChannels * options.size * options.size);
    }
  });
  return result;
}

}  // namespace dissent
