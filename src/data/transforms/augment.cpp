#include "data/transforms/augment.hpp"

#include <ATen/ops/linspace.h>
#include <dissent/error.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include "core/option_table.hpp"
#include "data/transforms/distributions.hpp"

namespace dissent {
namespace {

constexpr int64_t kAugMixBins = 10;

// An operation with the magnitudes of its bins.
struct Magnitudes {
  PixelOp op;
  bool either_sign;
  double low, high;   // for the first and last bin; equal: no magnitude
  int64_t most_bits;  // for Posterize: its bins are integers from this one down to four less
};

Magnitudes signed_range(PixelOp op, double high) { return {op, true, 0, high, 0}; }
Magnitudes plain_range(PixelOp op, double low = 0, double high = 0, int64_t most_bits = 0) {
  return {op, false, low, high, most_bits};
}

std::vector<Magnitudes> ranges_of(double right, double down, int64_t most_bits) {
  return {signed_range(PixelOp::kShearX, 0.3),
          signed_range(PixelOp::kShearY, 0.3),
          signed_range(PixelOp::kTranslateX, right),
          signed_range(PixelOp::kTranslateY, down),
          signed_range(PixelOp::kRotate, 30),
          plain_range(PixelOp::kPosterize, 1, 0, most_bits),
          plain_range(PixelOp::kSolarize, 255, 0),
          plain_range(PixelOp::kAutoContrast),
          plain_range(PixelOp::kEqualize)};
}

void add_colours(std::vector<Magnitudes>& ranges) {
  for (const auto op :
       {PixelOp::kBrightness, PixelOp::kColor, PixelOp::kContrast, PixelOp::kSharpness})
    ranges.push_back(signed_range(op, 0.9));
}

// The magnitude of a bin, in f32 as in torchvision's tensors of magnitudes: linspace(low, high,
// bins)[bin]; for Posterize most_bits - round(4 bin / (bins - 1)).
double magnitude_of(const Magnitudes& range, int64_t bin, int64_t bins) {
  if (range.low == range.high) return 0;
  if (range.op == PixelOp::kPosterize)
    return static_cast<double>(range.most_bits) -
           std::nearbyint(static_cast<float>(bin) /
                          static_cast<float>(static_cast<double>(bins - 1) / 4));
  return at::linspace(range.low, range.high, bins, at::kFloat)[bin].item<float>();
}

PixelStep step_of(const Magnitudes& range, int64_t bin, int64_t bins, Random& random) {
  const double magnitude = magnitude_of(range, bin, bins);
  return {range.op, range.either_sign && random.below(2) == 1 ? -magnitude : magnitude};
}

std::vector<double> draw_dirichlet(Random& random, double alpha, int64_t count) {
  // Independent gamma draws, normalised.
  std::vector<double> values;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values.emplace_back(draw_gamma(random, alpha));

  // For tiny alphas every draw may be 0: one value becomes 1, as in the limit.
  if (sum == 0) sum = values[random.below(static_cast<uint32_t>(count))] = 1;
  for (auto& value : values) value /= sum;
  return values;
}

at::Tensor applied(const std::vector<PixelStep>& steps, at::Tensor image,
                   Interpolation interpolation) {
  for (const auto& step : steps)
    image = apply_pixel_op(image, step.op, step.magnitude, interpolation);
  return image;
}

// The interpolations that apply_pixel_op supports.
Names<Interpolation> interpolations() {
  return names_of<Interpolation>({"nearest", "bilinear"}, interpolation);
}

}  // namespace

std::vector<PixelStep> draw_rand_augment(const RandAugmentOptions& options, int64_t height,
                                         int64_t width, Random& random) {
  DISSENT_CHECK(options.num_ops >= 0, kUsage, "rand_augment: num_ops: expected >= 0, found {}",
                options.num_ops);
  DISSENT_CHECK(options.bins >= 2 && options.magnitude >= 0 && options.magnitude < options.bins,
                kUsage, "rand_augment: magnitude: expected 0 .. bins - 1, found {} of {}",
                options.magnitude, options.bins);

  // torchvision's RandAugment shifts by up to 150/331 of an edge.
  auto ranges = ranges_of(150.0 / 331.0 * static_cast<double>(width),
                          150.0 / 331.0 * static_cast<double>(height), 8);
  add_colours(ranges);
  ranges.push_back(plain_range(PixelOp::kIdentity));

  // Drawn with replacement: an operation may occur twice, as in torchvision.
  std::vector<PixelStep> steps;
  for (int64_t i = 0; i < options.num_ops; ++i) {
    const auto& range = ranges[random.below(static_cast<uint32_t>(ranges.size()))];
    steps.push_back(step_of(range, options.magnitude, options.bins, random));
  }
  return steps;
}

at::Tensor rand_augment(const RandAugmentOptions& options, const at::Tensor& image,
                        Random& random) {
  return applied(draw_rand_augment(options, image.size(0), image.size(1), random), image,
                 options.interpolation);
}

AugMixDraws draw_aug_mix(const AugMixOptions& options, int64_t height, int64_t width,
                         Random& random) {
  DISSENT_CHECK(options.severity >= 1 && options.severity <= kAugMixBins, kUsage,
                "aug_mix: severity: expected 1 .. {}, found {}", kAugMixBins, options.severity);
  DISSENT_CHECK(options.mixture_width >= 1, kUsage,
                "aug_mix: mixture_width: expected >= 1, found {}", options.mixture_width);
  DISSENT_CHECK(options.alpha > 0, kUsage, "aug_mix: alpha: expected > 0, found {}", options.alpha);

  // AugMix shifts by up to a third of an edge, and posterises to fewer bits.
  auto ranges = ranges_of(static_cast<double>(width) / 3, static_cast<double>(height) / 3, 4);
  if (options.all_ops) add_colours(ranges);

  // (m0, 1 - m0) ~ Dirichlet(alpha, alpha) and w ~ Dirichlet(alpha, ...) over the chains.
  const auto blend = draw_dirichlet(random, options.alpha, 2),
             weights = draw_dirichlet(random, options.alpha, options.mixture_width);

  AugMixDraws draws{static_cast<float>(blend[0]), {}};
  for (const double weight : weights) {
    AugMixDraws::Chain chain{static_cast<float>(weight * blend[1]), {}};
    const int64_t depth = options.chain_depth > 0 ? options.chain_depth : 1 + random.below(3);
    for (int64_t i = 0; i < depth; ++i) {
      const auto& range = ranges[random.below(static_cast<uint32_t>(ranges.size()))];
      // Severity s draws from the first s of the ten strengths.
      const auto bin = random.below(static_cast<uint32_t>(options.severity));
      chain.steps.push_back(step_of(range, bin, kAugMixBins, random));
    }
    draws.chains.push_back(std::move(chain));
  }
  return draws;
}

at::Tensor aug_mix(const AugMixOptions& options, const at::Tensor& image, Random& random) {
  const auto draws = draw_aug_mix(options, image.size(0), image.size(1), random);

  // Each chain starts from the image itself. Sums are in f32 and truncated at the end, as in
  // torchvision.
  auto mixed = image.to(at::kFloat).mul_(draws.original);
  for (const auto& chain : draws.chains)
    mixed.add_(
        applied(chain.steps, image, options.interpolation).to(at::kFloat).mul_(chain.weight));
  return mixed.clamp_(0, 255).to(at::kByte);
}

TableSpec rand_augment_table(const std::string& name) {
  using T = RandAugmentOptions;
  return OptionTable<T>(name, "RandAugment: random operations, drawn for each image")
      .option("num_ops", &T::num_ops, {.meaning = "operations per image", .min = 0})
      .option("magnitude", &T::magnitude,
              {.meaning = "strength of the operations, 0 .. bins - 1", .min = 0})
      .option("bins", &T::bins,
              {.meaning = "number of levels of strength between zero and the maximum", .min = 2})
      .option("first", &T::first,
              {.meaning = "apply before resizing and cropping, as OpenOOD does for small images; "
                          "false: after"})
      .choice("interpolation", &T::interpolation, interpolations(),
              "interpolation of shears, shifts and rotations");
}

TableSpec aug_mix_table(const std::string& name) {
  using T = AugMixOptions;
  return OptionTable<T>(name, "AugMix: chains of random operations, mixed with the image")
      .option("severity", &T::severity,
              {.meaning =
                   "the strength of an operation is drawn from the lowest SEVERITY of ten levels",
               .min = 1,
               .max = static_cast<double>(kAugMixBins)})
      .option("mixture_width", &T::mixture_width, {.meaning = "number of chains", .min = 1})
      .option("chain_depth", &T::chain_depth,
              {.meaning = "operations per chain; <= 0: drawn from 1 to 3"})
      .option("alpha", &T::alpha,
              {.meaning = "parameter of the Dirichlet distributions of the weights", .min = 1e-3})
      .option("all_ops", &T::all_ops,
              {.meaning = "include brightness, colour, contrast and sharpness, which resemble "
                          "corruptions of ImageNet-C"})
      .choice("interpolation", &T::interpolation, interpolations(),
              "interpolation of shears, shifts and rotations");
}

}  // namespace dissent
