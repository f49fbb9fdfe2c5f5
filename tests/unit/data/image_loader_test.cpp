#include <algorithm>
#include <utility>

#include "data/image_loader.hpp"

#include "core/parallel.hpp"
#include "data/datasets/memory_images.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

// Images of noise, [40, 20 + r, 24, 3]; those of `damaged` cannot be read.
class Noise : public ImageSource {
 public:
  explicit Noise(std::vector<int64_t> damaged = {}) : damaged_(std::move(damaged)) {
    name_ = "noise";
    labels_ = at::arange(40, at::kLong).remainder(7);
  }
  at::Tensor image(int64_t row) const override {
    if (std::find(damaged_.begin(), damaged_.end(), row) != damaged_.end())
      DISSENT_FAIL(kData, "noise/{}.jpg: damaged", row);
    auto values = at::empty({20 + row, 24, 3}, at::kFloat);
    fill_uniform(values, 0, 256, Random(7, Purpose::kNoise, row));
    return values.to(at::kByte);
  }

 private:
  std::vector<int64_t> damaged_;
};

TransformOptions crop() {
  return {.kind = TransformOptions::Kind::kResizedCrop,
          .size = 9,
          .normalisation = normalisation("imagenet")};
}

std::vector<int64_t> all_rows() {
  std::vector<int64_t> rows(40);
  for (int64_t i = 0; i < 40; ++i) rows[i] = 39 - i;
  return rows;
}

}  // namespace

TEST(ImageLoader, AnyNumberOfWorkersAndBatchesGiveTheSamePixels) {
  const Noise source;
  const auto transform = crop();
  at::Tensor expected = at::empty({40, 3, 9, 9});
  for (int64_t i = 0; i < 40; ++i) {
    const auto image = source.image(39 - i);
    expected[i] = transform_image(transform, image,
                                  draw_transform(transform, image.size(0), image.size(1),
                                                 Random(5, Purpose::kCrop, 2, 39 - i)));
  }
  for (const int64_t workers : {0, 1, 3})
    for (const int threads : {1, 2}) {
      set_threads(threads);
      ImageLoader loader({.workers = workers});
      const auto whole = loader.load({&source, &transform, all_rows(), 5, 2}).get();
      EXPECT_TRUE(at::equal(whole.x, expected)) << workers;
      EXPECT_EQ(whole.rows, all_rows());
      EXPECT_TRUE(at::equal(whole.labels, source.labels().flip(0)));
      std::vector<std::future<ImageBatch>> batches;
      const auto rows = all_rows();
      for (int64_t first = 0; first < 40; first += 10)
        batches.push_back(loader.load(
            {&source, &transform, {rows.begin() + first, rows.begin() + first + 10}, 5, 2}));
      std::vector<at::Tensor> parts;
      for (auto& batch : batches) parts.push_back(batch.get().x);
      EXPECT_TRUE(at::equal(at::cat(parts), expected)) << workers;
      EXPECT_FALSE(
          at::equal(loader.load({&source, &transform, all_rows(), 5, 3}).get().x, expected))
          << "another stream";
      EXPECT_EQ(loader.damaged(), 0);
    }
  set_threads(1);
}

TEST(ImageLoader, DamagedImagesAreErrorsOrLeftOut) {
  const Noise whole, source({3, 39, 20});
  const auto transform = crop();
  for (const int64_t workers : {0, 2}) {
    ImageLoader strict({.workers = workers});
    auto under_way = strict.load({&source, &transform, {1, 20, 3}, 5, 2});
    EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { under_way.get(); }),
                    "noise/20.jpg: damaged");  // the first of the request, whichever was met first
    EXPECT_EQ(strict.load({&source, &transform, {1, 2}, 5, 2}).get().x.size(0), 2);

    ImageLoader lenient({.workers = workers, .skip_damaged = true});
    const auto batch = lenient.load({&source, &transform, {1, 20, 2, 39, 4}, 5, 2}).get();
    EXPECT_EQ(batch.rows, (std::vector<int64_t>{1, 2, 4}));
    EXPECT_TRUE(at::equal(batch.labels, at::tensor({1, 2, 4}, at::kLong)));
    EXPECT_TRUE(at::equal(batch.x, strict.load({&whole, &transform, {1, 2, 4}, 5, 2}).get().x));
    EXPECT_EQ(lenient.damaged(), 2);
    EXPECT_EQ(lenient.load({&source, &transform, {3}, 5, 2}).get().x.size(0), 0);
    EXPECT_EQ(lenient.damaged(), 3);
  }
}

// Rows 1 and 3 are of one colour, 0 differs in its last pixel, 2 in a channel, 4 in its first
// column. Each is counted once, whatever part of it the transform looks at.
TEST(ImageLoader, ConstantImagesAreCounted) {
  auto images = at::full({5, 12, 12, 3}, 9, at::kByte);
  images[1].fill_(0);
  images[0][11][11][2] = 8;
  images[2].select(2, 1).fill_(7);
  images[2][5][5][1] = 9;
  images[4].select(1, 0).fill_(3);
  const MemoryImages source("logos", images, at::zeros({5}, at::kLong), 1, "labels"),
      others("others", images.narrow(0, 1, 1).contiguous(), at::zeros({1}, at::kLong), 1, "labels");
  const auto crops = crop();
  const TransformOptions middle{.kind = TransformOptions::Kind::kCenterCrop,
                                .resize = 12,
                                .size = 2,
                                .normalisation = normalisation("imagenet")};
  for (const int64_t workers : {0, 2})
    for (const auto* transform : {&crops, &middle}) {
      ImageLoader loader({.workers = workers});
      EXPECT_EQ(loader.constant(), 0);
      for (uint64_t epoch = 0; epoch < 6; ++epoch)
        loader.load({&source, transform, {4, 3, 2, 1, 0}, 5, epoch}).get();
      EXPECT_EQ(loader.constant(), 2);
      loader.load({&others, transform, {0}, 5, 0}).get();
      EXPECT_EQ(loader.constant(), 3);
    }
}

TEST(ImageLoader, OtherErrorsAreNotDamage) {
  const MemoryImages source("odd", at::zeros({2, 4, 4, 5}, at::kByte), at::zeros({2}, at::kLong), 1,
                            "labels");
  const auto transform = crop();
  ImageLoader loader({.workers = 1, .skip_damaged = true});
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { loader.load({&source, &transform, {1}, 5, 2}).get(); }),
      "transform: image: expected [H, W]");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { loader.load({&source, &transform, {2}, 5, 2}); }),
      "rows: expected 0 .. 1 (odd), found 2");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { loader.load({&source, nullptr, {1}, 5, 2}); }),
                  "no transform");
  EXPECT_EQ(loader.load({&source, &transform, {}, 5, 2}).get().x.size(0), 0);
}

// A loader that is dropped finishes what it was asked for: nothing is read after its source is
// gone.
TEST(ImageLoader, MayBeDroppedWithRequestsUnderWay) {
  const auto transform = crop();
  for (int i = 0; i < 20; ++i) {
    auto source = std::make_unique<Noise>();
    {
      ImageLoader loader({.workers = 2});
      loader.load({source.get(), &transform, all_rows(), 5, 2});
      loader.load({source.get(), &transform, all_rows(), 5, 3});
    }
    source.reset();
  }
}
