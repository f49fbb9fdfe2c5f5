#include "data/datasets/idx.hpp"

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/datasets/memory_images.hpp"
#include "data/datasets/registry.hpp"
#include "data/feature_source.hpp"
#include "data/open_images.hpp"
#include "self.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

// An IDX file of bytes 0, 1, 2, ...
std::string idx_text(const std::vector<int>& shape, int values) {
  std::string text{0, 0, 8, static_cast<char>(shape.size())};
  for (const int size : shape)
    for (const int shift : {24, 16, 8, 0}) text += static_cast<char>(size >> shift);
  for (int i = 0; i < values; ++i) text += static_cast<char>(i);
  return text;
}

void write_gzip(const std::string& path, const std::string& text) {
  const auto file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

struct Idx : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "set-idx";
  std::string error(const std::string& text) {
    atomic_write_text(path, text);
    return error_of(ErrorKind::kData, [&] { read_idx(path); });
  }
};

}  // namespace

TEST_F(Idx, PlainAndGzip) {
  const auto expected = at::arange(300 * 2 * 3).remainder(256).to(at::kByte).reshape({300, 2, 3});
  atomic_write_text(path, idx_text({300, 2, 3}, 1800));
  EXPECT_TRUE(at::equal(read_idx(path), expected));
  write_gzip(path, idx_text({300, 2, 3}, 1800));
  EXPECT_TRUE(at::equal(read_idx(path), expected));
}

TEST_F(Idx, BadFiles) {
  EXPECT_CONTAINS(
      error("GIF89a, not IDX"),
      "set-idx: expected an IDX file of bytes, which starts with 000008 and 1 to 4 dimensions, "
      "found 47494638");
  EXPECT_CONTAINS(error(""), "expected an IDX file");
  EXPECT_CONTAINS(
      error(idx_text({4, 2, 3}, 23)),
      "set-idx: truncated: expected 24 values, the shape [4, 2, 3] of its header, found 23");
  EXPECT_CONTAINS(error(idx_text({4, 2, 3}, 25)),
                  "set-idx: expected values of the shape [4, 2, 3] of its header, found more");
  EXPECT_CONTAINS(error(idx_text({4, 2, 3}, 0).substr(0, 10)),
                  "truncated: expected a complete header");
  EXPECT_CONTAINS(error(idx_text({0x7fffffff, 0x7fffffff, 0x7fffffff}, 10)),
                  "found a header with the shape");
  EXPECT_CONTAINS(error(idx_text({0x7fffffff}, 10)), "truncated: expected 2147483647 values");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_idx(folder / "none"); }),
                  "none: no such file");
}

TEST_F(Idx, DamagedGzip) {
  write_gzip(path, idx_text({300, 20, 3}, 18000));
  auto text = read_text(path);
  atomic_write_text(path, text.substr(0, text.size() / 2));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_idx(path); }), "set-idx: truncated");
  text[text.size() - 7] ^= 1;  // in the checksum
  atomic_write_text(path, text);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_idx(path); }), "set-idx: damaged: ");
}

ImageDataOptions data_of(const std::string& name, const std::string& root,
                         const std::string& split) {
  ImageDataOptions data;
  data.dataset = name;
  data.root = root;
  data.split = split;
  return data;
}

struct Registry : ::testing::Test {
  TempFolder folder{*self};
  void write(const std::string& images, const std::string& labels) const {
    write_gzip(folder / "train-images-idx3-ubyte.gz", images);
    write_gzip(folder / "train-labels-idx1-ubyte.gz", labels);
  }
  std::string error(ErrorKind kind, const std::string& name, const std::string& split) const {
    return error_of(kind, [&] { open_image_source(data_of(name, folder.path(), split)); });
  }
};

TEST_F(Registry, LoadsAndTakesPixels) {
  write(idx_text({10, 2, 3}, 60), idx_text({10}, 10));
  const auto data = data_of("mnist", folder.path(), "train");
  const auto set = open_image_source(data);
  EXPECT_EQ(set->name(), "mnist/train");
  EXPECT_EQ(set->rows(), 10);
  EXPECT_EQ(set->classes(), 10);
  EXPECT_EQ(set->image(9).sizes().vec(), (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(at::equal(set->labels(), at::arange(10, at::kLong)));
  const auto source = open_source(data, "pixels");
  EXPECT_EQ(source.features(0, 0, 10).sizes().vec(), (std::vector<int64_t>{10, 6}));
  EXPECT_EQ(source.features(0, 9, 1)[0][5].item<float>(), 59.0f / 255.0f);
  EXPECT_EQ(source.features(0, 10, 0).size(0), 0);
}

// Where it lies and whether it is compressed does not matter, each value does.
TEST_F(Registry, IdentityFollowsTheValues) {
  const auto identity = [&] {
    return open_image_source(data_of("mnist", folder.path(), "train"))->identity();
  };
  write(idx_text({10, 2, 3}, 60), idx_text({10}, 10));
  const auto compressed = identity();
  EXPECT_EQ(compressed.rfind("mnist/train, 10 images, ", 0), 0u) << compressed;
  for (const auto& name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"})
    remove_file(folder / std::string(name) + ".gz");
  atomic_write_text(folder / "train-images-idx3-ubyte", idx_text({10, 2, 3}, 60));
  atomic_write_text(folder / "train-labels-idx1-ubyte", idx_text({10}, 10));
  EXPECT_EQ(identity(), compressed);
  change_byte(folder / "train-images-idx3-ubyte", 70);
  EXPECT_NE(identity(), compressed);
  change_byte(folder / "train-images-idx3-ubyte", 70);
  atomic_write_text(folder / "train-images-idx3-ubyte", idx_text({10, 2, 3}, 60));
  change_byte(folder / "train-labels-idx1-ubyte", 10);
  EXPECT_NE(identity(), compressed);
}

TEST_F(Registry, Errors) {
  EXPECT_CONTAINS(error(ErrorKind::kUsage, "mnits", "train"),
                  "dataset: expected one of fashion_mnist, mnist, cifar10, cifar100, cifar10_c, "
                  "cifar100_c, folder, synthetic, found 'mnits'");
  EXPECT_CONTAINS(error(ErrorKind::kUsage, "mnist", "val"),
                  "data.split: expected one of train, test (dataset mnist), found 'val'");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [] { open_image_source(data_of("mnist", "", "train")); }),
      "data.root: expected a folder for dataset mnist, found none");
  EXPECT_CONTAINS(
      error(ErrorKind::kData, "fashion_mnist", "test"),
      "t10k-images-idx3-ubyte.gz: no such file; install the Debian package dataset-fashion-mnist");
  write(idx_text({10, 2, 3}, 60), idx_text({9}, 9));
  EXPECT_CONTAINS(error(ErrorKind::kData, "mnist", "train"),
                  "expected a label for each of the 10 images of ");
  write(idx_text({11, 2, 3}, 66), idx_text({11}, 11));
  EXPECT_CONTAINS(error(ErrorKind::kData, "mnist", "train"),
                  "label of image 10: expected 0 .. 9, or -1 (unknown), found 10");
  write(idx_text({12, 6}, 72), idx_text({12}, 12));
  EXPECT_CONTAINS(error(ErrorKind::kData, "mnist", "train"),
                  "expected images with 3 dimensions, found 2");
}

// The set of the Debian package, where it is installed: its known counts, and sums that a wrong
// byte order or offset would change.
TEST(FashionMnist, AsPublished) {
  if (!std::filesystem::exists(find_dataset("fashion_mnist").default_root))
    GTEST_SKIP() << "package dataset-fashion-mnist is not installed";
  const auto open = [](const std::string& split) {
    return open_image_source(data_of("fashion_mnist", "", split));
  };
  const auto train = open("train");
  const auto& images = dynamic_cast<const MemoryImages&>(*train).images();
  EXPECT_EQ(images.sizes().vec(), (std::vector<int64_t>{60000, 28, 28}));
  EXPECT_TRUE(at::equal(at::bincount(train->labels()), at::full({10}, 6000, at::kLong)));
  EXPECT_NEAR(images.mean(at::kDouble).item<double>() / 255, 0.2860,
              5e-5);  // the mean that everyone normalises with
  const auto test = open("test");
  EXPECT_EQ(test->rows(), 10000);
  EXPECT_EQ(test->labels()[0].item<int64_t>(), 9);
}
