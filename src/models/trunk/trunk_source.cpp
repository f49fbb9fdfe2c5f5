#include "models/trunk/trunk_source.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <future>
#include <iterator>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "core/parallel.hpp"
#include "core/stop.hpp"
#include "data/image_loader.hpp"
#include "data/open_images.hpp"
#include "models/networks/registry.hpp"
#include "models/trunk/image_trunk.hpp"

namespace dissent {
namespace {

class TrunkRows {
 public:
  TrunkRows(const ImageDataOptions& data, const TransformOptions& transform,
            const TrunkOptions& options, at::Device device)
      : transform_(transform),
        trunk_(options, transform.size, static_cast<uint64_t>(data.seed), device),
        images_(open_images(data)),
        loader_({.workers = data.workers}),
        seed_(static_cast<uint64_t>(data.seed)),
        batch_(options.batch_size),
        ahead_(data.workers > 0 ? data.prefetch : 0) {}

  const ImageSource& images() const { return *images_; }
  const ImageTrunk& trunk() const { return trunk_; }

  // Features [count, D] of rows [first, first + count) of a pass.
  at::Tensor features(int64_t pass, int64_t first, int64_t count) {
    auto out = at::empty({count, trunk_.dim()}, at::kFloat);
    const int64_t last = first + count,
                  together = batch_ * (trunk_.device().is_cpu() ? threads() : 1);

    // Keep ahead_ groups of batches in preparation while the network computes.
    std::deque<std::future<ImageBatch>> coming;
    int64_t asked = first;
    for (int64_t row = first; row < last; row = group_end(row, together, last)) {
      throw_if_stopped();
      for (; asked < last && std::ssize(coming) <= ahead_; asked = group_end(asked, together, last))
        coming.push_back(ask(pass, asked, group_end(asked, together, last)));

      // Groups arrive in the order in which they were requested, whichever worker is done first.
      const auto images = coming.front().get();
      coming.pop_front();
      run(images.x, row, out.narrow(0, row - first, images.x.size(0)));
    }
    return out;
  }

 private:
  // Groups of batches end at multiples of the batch size.
  int64_t group_end(int64_t row, int64_t together, int64_t last) const {
    return std::min(last, row / batch_ * batch_ + together);
  }

  std::future<ImageBatch> ask(int64_t pass, int64_t first, int64_t last) {
    ImageRequest request{.source = images_.get(),
                         .transform = &transform_,
                         .seed = seed_,
                         .stream = static_cast<uint64_t>(pass)};

    for (int64_t row = first; row < last; ++row) request.rows.push_back(row);
    return loader_.load(std::move(request));
  }

  // x [n, 3, S, S] holds rows [first, first + n), in one or more batches.
  void run(const at::Tensor& x, int64_t first, const at::Tensor& out) const {
    const int64_t last = first + x.size(0), first_batch = first / batch_,
                  batches = (last - 1) / batch_ - first_batch + 1;
    const auto task = [&](int64_t i) {
      const int64_t start = (first_batch + i) * batch_, begin = std::max(first, start),
                    count = std::min(last, start + batch_) - begin;

      // Products may differ in their last bits between batch sizes. Every forward pass therefore
      // has a whole batch at fixed rows, whatever rows are requested.
      const auto own = x.narrow(0, begin - first, count);
      if (count == batch_) {
        out.narrow(0, begin - first, count).copy_(trunk_.features(own));
        return;
      }

      // A partial batch is filled up with zeros, so that its rows keep their positions.
      auto filled = at::zeros({batch_, x.size(1), x.size(2), x.size(3)}, x.options());
      filled.narrow(0, begin - start, count).copy_(own);
      out.narrow(0, begin - first, count)
          .copy_(trunk_.features(filled).narrow(0, begin - start, count));
    };

    if (trunk_.device().is_cpu()) return parallel_tasks(batches, task);
    for (int64_t i = 0; i < batches; ++i) task(i);
  }

  TransformOptions transform_;
  ImageTrunk trunk_;
  std::unique_ptr<ImageSource>
      images_;  // after trunk_: errors of the weights are found before the images are opened
  ImageLoader loader_;
  uint64_t seed_;
  int64_t batch_, ahead_;
};

}  // namespace

bool draws(const TransformOptions& options) {
  return options.kind != TransformOptions::Kind::kCenterCrop || options.aug_mix ||
         options.rand_augment || options.corruption.enabled();
}

TransformOptions trunk_transform(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                 const TrunkOptions& trunk) {
  DISSENT_CHECK(!has_no_images(data), kUsage,
                "trunk.model: expected \"none\" (data.dataset = \"{}\" has features, not images), "
                "found \"{}\"",
                set_name(data), trunk.model);
  DISSENT_CHECK(data.has_transform(), kUsage,
                "data.transform: expected the transform to inputs of {}, found \"none\"",
                trunk.model);

  auto transform = find_transform(data.transform).options;
  const auto needed = image_size_misfit(trunk.model, transform.size);
  DISSENT_CHECK(needed.empty(), kUsage,
                "data.transform: expected a transform to images with edges of {} for trunk.model = "
                "\"{}\", found \"{}\" ({} pixels)",
                needed, trunk.model, data.transform, transform.size);
  transform.corruption = corruption;
  return transform;
}

FeatureSource open_trunk_source(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                const TrunkOptions& trunk, at::Device device) {
  const auto transform = trunk_transform(data, corruption, trunk);
  const auto rows = std::make_shared<TrunkRows>(data, transform, trunk, device);

  const auto& set = rows->images();
  return {
      .name = set.identity(),
      .rows = set.rows(),
      .dim = rows->trunk().dim(),
      .classes = set.classes(),
      .draws = draws(transform),
      .trunk = trunk.model + "/" + trunk.cut,
      .weights = rows->trunk().checksum(),
      .transform = corruption.enabled() ? fmt::format("{}, {} {}", data.transform, corruption.name,
                                                      corruption.severity)
                                        : data.transform,
      .features = [rows](int64_t pass, int64_t first,
                         int64_t count) { return rows->features(pass, first, count); },
      .labels = [rows](int64_t first,
                       int64_t count) { return rows->images().labels().narrow(0, first, count); }};
}

}  // namespace dissent
