// Cases of networks.h5 of kind preprocess: from 8-bit images to network inputs, with the random
// draws of the reference.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/transforms/transform.hpp"
#include "verify/case.hpp"

namespace dissent::verify {
namespace {

Normalisation values_of(const Case& reference) {
  return {reference.param<std::array<double, 3>>("mean"),
          reference.param<std::array<double, 3>>("std")};
}

// Compares <name>, and <name>_everyN: every N-th value along the given dimensions.
void check_image(const Case& reference, Checker& checker, const std::string& name,
                 const at::Tensor& image, at::IntArrayRef dims) {
  checker.output(name, image);
  const auto every = name + "_every";
  for (const auto& [output, values] : reference.out) {
    if (!output.starts_with(every)) continue;
    auto part = image;
    for (const int64_t dim : dims)
      part = part.slice(dim, 0, std::nullopt, std::stoll(output.substr(every.size())));
    checker.output(output, part);
  }
}

void check_result(const Case& reference, Checker& checker, const TransformOptions& options,
                  const TransformDraws& draws) {
  const auto image = reference.input("image").to(at::kByte);
  const auto result = transform_image(options, image, draws);
  check_image(reference, checker, "image", result, {1, 2});
  checker.output("channel_mean", result.to(at::kDouble).mean(at::IntArrayRef{1, 2}));

  // The image between resize and crop: it tells an error of the resampling from one of the crop. A
  // grey image is stored with three equal channels.
  if (options.resize == 0) return;
  const auto resized = resize_shorter((image.dim() == 2 ? image.unsqueeze(2) : image).contiguous(),
                                      options.resize, options.interpolation);
  check_image(reference, checker, "resized", resized.expand({-1, -1, 3}), {0, 1});
}

TransformOptions options_of(const Case& reference, TransformOptions::Kind kind,
                            const std::string& size) {
  TransformOptions options{
      .kind = kind,
      .size = reference.param<int64_t>(size),
      .interpolation = interpolation(reference.param<std::string>("interpolation")),
      .normalisation = values_of(reference)};
  if (reference.has("resize")) options.resize = reference.param<int64_t>("resize");
  if (reference.has("pad")) options.pad = reference.param<int64_t>("pad");
  return options;
}

void check_test(const Case& reference, Checker& checker) {
  check_result(reference, checker,
               options_of(reference, TransformOptions::Kind::kCenterCrop, "crop"), {});
}

// A padded crop, or ImageNet's resized crop if the case has the size of a window.
void check_train_transform(const Case& reference, Checker& checker) {
  // The reference's random draws are in the case, so both cut out the same window.
  TransformDraws draws{.top = reference.param<int64_t>("top"),
                       .left = reference.param<int64_t>("left"),
                       .flip = reference.param<bool>("flip")};

  if (!reference.has("height"))
    return check_result(reference, checker,
                        options_of(reference, TransformOptions::Kind::kPaddedCrop, "crop"), draws);

  draws.height = reference.param<int64_t>("height");
  draws.width = reference.param<int64_t>("width");
  check_result(reference, checker,
               options_of(reference, TransformOptions::Kind::kResizedCrop, "size"), draws);
}

}  // namespace

const std::vector<CaseHandler>& preprocess_handlers() {
  static const std::vector<CaseHandler> table = {
      {"preprocess", "sed_eval", check_test},
      {"preprocess", "sed_train", check_train_transform},
      {"preprocess", "openood_test", check_test},
      {"preprocess", "openood_train", check_train_transform},
  };
  return table;
}

}  // namespace dissent::verify
