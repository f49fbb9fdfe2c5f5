#include "evaluate/subjects/picture_set.hpp"

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "data/datasets/registry.hpp"
#include "data/image_loader.hpp"
#include "data/open_images.hpp"
#include "data/row_range.hpp"
#include "evaluate/subjects/content_hash.hpp"

namespace dissent {
namespace {

// Images through a transform for testing.
class PictureSet : public EvaluationSet {
 public:
  PictureSet(std::unique_ptr<ImageSource> source, const TransformSpec& transform,
             std::vector<std::string> registered)
      : EvaluationSet(source->name(), source->name()),
        source_(std::move(source)),
        registered_(std::move(registered)),
        transform_(transform),
        loader_(ImageLoaderOptions{}) {
    DISSENT_CHECK(
        transform.options.kind == TransformOptions::Kind::kCenterCrop, kUsage,
        "evaluate.transform: expected a transform for testing, such as {}_test, found \"{}\", "
        "which crops at random",
        transform.name.substr(0, transform.name.find('_')), transform.name);
  }
  int64_t rows() const override { return source_->rows(); }
  std::vector<int64_t> input_shape() const override {
    return {3, transform_.options.size, transform_.options.size};
  }

  at::Tensor inputs(int64_t first, int64_t count) const override {
    // Seed and stream are 0: the random draws of a corruption depend on the row alone, so every
    // evaluation gets the same pixels.
    std::vector<int64_t> rows;
    for (int64_t row = first; row < first + count; ++row) rows.push_back(row);
    return loader_.load({source_.get(), &transform_.options, std::move(rows), 0, 0}).get().x;
  }
  at::Tensor pictures(int64_t first, int64_t count) const override {
    // Inverts the normalisation x = (level / 255 - mean) / std.
    const auto& used = transform_.options.normalisation;
    const auto per_channel = [](const std::array<double, 3>& values) {
      return at::tensor(at::ArrayRef<double>(values), at::kDouble).view({1, 3, 1, 1});
    };
    const auto levels =
        (inputs(first, count).to(at::kDouble) * per_channel(used.std) + per_channel(used.mean)) *
        255;
    return levels.round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
  }

  at::Tensor labels(int64_t first, int64_t count) const override {
    return source_->labels().narrow(0, first, count);
  }
  std::vector<std::string> class_names() const override {
    return source_->class_names().empty() ? registered_ : source_->class_names();
  }
  std::string row_name(int64_t row) const override { return source_->image_name(row); }
  void check_labels(int64_t classes) const override {
    const auto wrong = (source_->labels() < 0).logical_or(source_->labels() >= classes).nonzero();
    if (wrong.size(0) == 0) return;
    const auto row = wrong[0].item<int64_t>();
    DISSENT_FAIL(kData, "{}: label of {}: expected 0 .. {}, found {}", place(),
                 source_->image_name(row), classes - 1, source_->labels()[row].item<int64_t>());
  }
  void check_class_names(const std::vector<std::string>& names,
                         const std::string& source) const override {
    check_same_classes(*source_, names, source);
  }

  // Two transforms of the same images give different outputs, so they are different sets.
  std::string identity() const override {
    return content_hash(source_->identity() + " through " + transform_.name);
  }

 private:
  std::unique_ptr<ImageSource> source_;
  std::vector<std::string> registered_;  // class names from the registry of image sets
  TransformSpec transform_;
  mutable ImageLoader loader_;
};

}  // namespace

std::unique_ptr<EvaluationSet> open_picture_set(const ImageDataOptions& options,
                                                const std::string& range,
                                                const std::string& transform,
                                                CorruptionOptions corruption) {
  auto spec = find_transform(transform);
  if (corruption.enabled())
    spec.name += fmt::format(", {} {}{}", corruption.name, corruption.severity,
                             corruption.as_stored ? " as stored" : "");
  spec.options.corruption = std::move(corruption);

  // A list may number its classes differently from the registered set of that name.
  auto registered =
      options.list.empty() ? registered_class_names(options.dataset) : std::vector<std::string>();
  return std::make_unique<PictureSet>(rows_of_source(open_image_source(options), range), spec,
                                      std::move(registered));
}

}  // namespace dissent
