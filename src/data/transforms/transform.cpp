#include "data/transforms/transform.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/tensor_check.hpp"

namespace dissent {
namespace {

constexpr int64_t kPlanes = 3;
constexpr int64_t kTransformRows = 8;
using Kind = TransformOptions::Kind;
using ValuesOfLevels = std::array<std::array<float, 256>, kPlanes>;

// In f32 and in this order of operations, as torchvision's ToTensor and Normalize.
ValuesOfLevels values_of(const Normalisation& normalisation) {
  ValuesOfLevels table;
  for (int64_t c = 0; c < kPlanes; ++c)
    for (int v = 0; v < 256; ++v)
      table[c][v] = (static_cast<float>(v) / 255.0f - static_cast<float>(normalisation.mean[c])) /
                    static_cast<float>(normalisation.std[c]);
  return table;
}

// round((edge - size) / 2), half to even, as Python's round; negative if the image has to be
// padded, where the left padding is rounded down.
int64_t middle(int64_t edge, int64_t size) {
  if (edge < size) return -((size - edge) / 2);
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(edge - size) / 2));
}

// Where the result's pixels come from: row y of the window is row top + y of a frame of size x size
// whose pixel (0, 0) is at (frame_top, frame_left) of the image. flip mirrors the frame.
struct Window {
  int64_t size, top, left, frame_top, frame_left;
  bool flip;
};

// [size, size, 3]; the image itself if nothing is cut off, so the caller must not write into it.
at::Tensor cut(const at::Tensor& image, const Window& window) {
  const int64_t height = image.size(0), width = image.size(1), channels = image.size(2),
                size = window.size;
  const bool whole = height == size && width == size && channels == kPlanes && window.top == 0 &&
                     window.left == 0 && window.frame_top == 0 && window.frame_left == 0;
  if (whole && !window.flip) return image;

  auto result = at::empty({size, size, kPlanes}, at::kByte);
  const auto* pixels = image.const_data_ptr<uint8_t>();
  auto* out = result.data_ptr<uint8_t>();
  const auto inside = [](int64_t position, int64_t extent) {
    return position >= 0 && position < extent;
  };

  // A pixel is copied if it lies both in the frame and in the image, else it is black. Grey images
  // give three equal channels.
  for (int64_t y = 0; y < size; ++y) {
    const int64_t frame_y = window.top + y, image_y = window.frame_top + frame_y;
    const bool row = inside(frame_y, size) && inside(image_y, height);
    for (int64_t x = 0; x < size; ++x) {
      const int64_t frame_x = window.left + x,
                    image_x = window.frame_left + (window.flip ? size - 1 - frame_x : frame_x);
      const bool pixel = row && inside(frame_x, size) && inside(image_x, width);
      for (int64_t c = 0; c < kPlanes; ++c)
        *out++ =
            pixel ? pixels[(image_y * width + image_x) * channels + std::min(c, channels - 1)] : 0;
    }
  }
  return result;
}

// [S, S, 3] u8 to [3, S, S] f32: one colour plane after another, by table.
void normalise(const at::Tensor& image, const ValuesOfLevels& table, float* out) {
  const auto* pixels = image.const_data_ptr<uint8_t>();
  for (int64_t c = 0; c < kPlanes; ++c)
    for (int64_t i = c; i < image.numel(); i += kPlanes)
      *out++ = table[static_cast<size_t>(c)][pixels[i]];
}

// [H, W, C], contiguous.
at::Tensor checked(const at::Tensor& image) {
  const bool fits =
      image.defined() && image.scalar_type() == at::kByte && image.device().is_cpu() &&
      image.numel() > 0 &&
      (image.dim() == 2 || (image.dim() == 3 && (image.size(2) == 1 || image.size(2) == kPlanes)));
  DISSENT_CHECK(fits, kUsage,
                "transform: image: expected [H, W], [H, W, 1] or [H, W, 3] Byte cpu, found {}",
                describe(image));
  return (image.dim() == 2 ? image.unsqueeze(2) : image).contiguous();
}

// Resizing with a centre crop: the full size after resizing, the centred part of it that is
// computed, and the place of that part in the crop's frame: (0, 0), or inside if it is smaller than
// the crop.
struct Middle {
  int64_t height, width;
  ImagePart part;
  int64_t frame_top, frame_left;
};

Middle middle_of(const TransformOptions& options, int64_t in_height, int64_t in_width) {
  const auto [height, width] = shorter_to(in_height, in_width, options.resize);
  const int64_t top = middle(height, options.size), left = middle(width, options.size);
  const ImagePart part{std::max<int64_t>(0, top), std::max<int64_t>(0, left),
                       std::min(height, options.size), std::min(width, options.size)};
  return {height, width, part, std::min<int64_t>(0, top), std::min<int64_t>(0, left)};
}

at::Tensor cropped(const TransformOptions& options, const at::Tensor& image,
                   const TransformDraws& draws) {
  // A random window is resized by itself: pixels outside it do not enter the antialiasing, as in
  // torchvision's resized_crop.
  if (options.kind == Kind::kResizedCrop) {
    const bool fits = draws.top >= 0 && draws.left >= 0 && draws.height >= 1 && draws.width >= 1 &&
                      draws.top + draws.height <= image.size(0) &&
                      draws.left + draws.width <= image.size(1);
    DISSENT_CHECK(fits, kUsage,
                  "transform: window: expected one inside {}, found {} x {} at ({}, {})",
                  describe(image), draws.height, draws.width, draws.top, draws.left);
    const auto part = image.narrow(0, draws.top, draws.height).narrow(1, draws.left, draws.width);
    return cut(resize(part, options.size, options.size, options.interpolation),
               {options.size, 0, 0, 0, 0, draws.flip});
  }

  // A centre crop: only the part of the resized image that the crop needs is computed.
  const auto made = middle_of(options, image.size(0), image.size(1));
  Window window{options.size, 0, 0, made.frame_top, made.frame_left, draws.flip};
  if (options.kind == Kind::kPaddedCrop) {
    const bool fits = draws.top >= 0 && draws.left >= 0 && draws.top <= 2 * options.pad &&
                      draws.left <= 2 * options.pad;
    DISSENT_CHECK(fits, kUsage,
                  "transform: window: expected top and left in 0 .. {}, found ({}, {})",
                  2 * options.pad, draws.top, draws.left);

    // The draws count from the corner of the padded frame, pad pixels above and left of the crop.
    window.top = draws.top - options.pad;
    window.left = draws.left - options.pad;
  }
  return cut(resize_part(image, made.height, made.width, options.interpolation, made.part), window);
}

int64_t below(Random& random, int64_t bound) { return random.below(static_cast<uint32_t>(bound)); }
int64_t nearest_integer(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

TransformDraws draw_window(const TransformOptions& options, int64_t height, int64_t width,
                           Random& random) {
  constexpr int kTries = 10;
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  const auto uniform = [&](double low, double high) {
    return low + (high - low) * random.uniform();
  };

  // Area and ratio are drawn, the ratio uniformly on a logarithmic scale (2/3 and 3/2 are as
  // likely); torchvision's RandomResizedCrop draws in this order.
  TransformDraws draws;
  for (int i = 0; i < kTries; ++i) {
    const double area = h * w * uniform(options.scale[0], options.scale[1]);
    const double ratio = std::exp(uniform(std::log(options.ratio[0]), std::log(options.ratio[1])));
    draws.width = nearest_integer(std::sqrt(area * ratio));
    draws.height = nearest_integer(std::sqrt(area / ratio));
    if (draws.width < 1 || draws.height < 1 || draws.width > width || draws.height > height)
      continue;
    draws.top = below(random, height - draws.height + 1);
    draws.left = below(random, width - draws.width + 1);
    return draws;
  }

  // No window fitted in ten tries: the largest window in the middle whose ratio is allowed.
  draws.height = w / h < options.ratio[0] ? nearest_integer(w / options.ratio[0]) : height;
  draws.width = w / h > options.ratio[1] ? nearest_integer(h * options.ratio[1]) : width;
  draws.top = (height - draws.height) / 2;
  draws.left = (width - draws.width) / 2;
  return draws;
}

}  // namespace

TransformDraws draw_transform(const TransformOptions& options, int64_t height, int64_t width,
                              Random random) {
  TransformDraws draws;
  if (options.kind != Kind::kCenterCrop) {
    // The order of draws is fixed, since it decides results: the flip, then the window. Everything
    // behind them belongs to the augmentations (draws.values).
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

ImageTransform::ImageTransform(const TransformOptions& options)
    : options_(options), values_(values_of(options.normalisation)) {
  DISSENT_CHECK(
      !options.corruption.as_stored || options.kind == Kind::kCenterCrop, kUsage,
      "transform: corruption.as_stored: expected a transform without a random window, found "
      "one with a random window");
}

void ImageTransform::apply(const at::Tensor& given, const TransformDraws& draws, float* out) const {
  const auto& rand = options_.rand_augment;
  const auto& mix = options_.aug_mix;
  const bool corrupted = options_.corruption.enabled();
  DISSENT_CHECK(
      draws.values || !(mix || rand || corrupted), kUsage,
      "transform: draws: expected a random stream `values` (set by draw_transform), found none");

  // The order is that of the references; the draws are taken in the same order, so each
  // augmentation has the same draws whatever follows it.
  auto values = draws.values;
  auto image = checked(given);
  if (rand && rand->first)
    image = rand_augment(*rand, image.expand({-1, -1, kPlanes}).contiguous(), *values);
  image = cropped(options_, image, draws);
  if (mix) image = aug_mix(*mix, image, *values);
  if (rand && !rand->first) image = rand_augment(*rand, image, *values);
  if (corrupted)
    image = corrupt(image, options_.corruption.name, options_.corruption.severity, *values);
  if (corrupted && options_.corruption.as_stored) image = cropped(options_, image, draws);
  normalise(image, values_, out);
}

ImagePart ImageTransform::part_of_row(uint64_t seed, uint64_t stream, int64_t row, int64_t height,
                                      int64_t width) const {
  // RandAugment before the crop may move any pixel of the image into it.
  if (options_.rand_augment && options_.rand_augment->first) return {0, 0, height, width};

  // The draws are those of row(), since they depend only on seed, stream and row.
  if (options_.kind == Kind::kResizedCrop) {
    const auto draws = draw_transform(
        options_, height, width, Random(seed, Purpose::kCrop, stream, static_cast<uint64_t>(row)));
    return {draws.top, draws.left, draws.height, draws.width};
  }
  const auto made = middle_of(options_, height, width);
  return read_for_part(height, width, made.height, made.width, options_.interpolation, made.part);
}

void ImageTransform::row(const at::Tensor& image, uint64_t seed, uint64_t stream, int64_t row,
                         float* out) const {
  DISSENT_CHECK(image.defined() && image.dim() >= 2, kUsage,
                "transform: image: expected [H, W] or [H, W, C], found {}", describe(image));
  apply(image,
        draw_transform(options_, image.size(0), image.size(1),
                       Random(seed, Purpose::kCrop, stream, static_cast<uint64_t>(row))),
        out);
}

at::Tensor transform_image(const TransformOptions& options, const at::Tensor& image,
                           const TransformDraws& draws) {
  auto result = at::empty({kPlanes, options.size, options.size}, at::kFloat);
  ImageTransform(options).apply(image, draws, result.data_ptr<float>());
  return result;
}

at::Tensor transform_rows(const TransformOptions& options, const at::Tensor& images,
                          const at::Tensor& rows, uint64_t seed, uint64_t stream) {
  DISSENT_CHECK(images.defined() && images.dim() >= 3 && images.is_contiguous(), kUsage,
                "transform: images: expected [N, H, W] or [N, H, W, C], contiguous, found {}",
                describe(images));
  DISSENT_CHECK(
      rows.defined() && rows.dim() == 1 && rows.scalar_type() == at::kLong && rows.is_contiguous(),
      kUsage, "transform: rows: expected [B] Long, found {}", describe(rows));

  const int64_t count = rows.size(0);
  const auto* index = rows.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) check_index("transform", "rows", index[i], images.size(0));

  // Rows are independent and each writes its own part, so the number of threads changes no bit.
  auto result = at::empty({count, kPlanes, options.size, options.size}, at::kFloat);
  auto* out = result.data_ptr<float>();
  const ImageTransform transform(options);
  parallel_tasks(divide_up(count, kTransformRows), [&](int64_t task) {
    for (int64_t i = task * kTransformRows; i < std::min(count, (task + 1) * kTransformRows); ++i)
      transform.row(images[index[i]], seed, stream, index[i],
                    out + i * kPlanes * options.size * options.size);
  });
  return result;
}

}  // namespace dissent
