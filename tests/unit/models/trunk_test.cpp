#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/trunk/image_trunk.hpp"

#include "core/parallel.hpp"
#include "data/open_images.hpp"
#include "data/transforms/transform.hpp"
#include "models/networks/registry.hpp"
#include "models/trunk/trunk_source.hpp"
#include "models/weights/load.hpp"
#include "storage/checkpoint.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

constexpr int64_t kRows = 150;  // 18 more than four batches of 33

struct Trunk : ::testing::Test {
  std::unique_ptr<Communicator> self = make_self_communicator();
  TempFolder folder{*self};
  ImageDataOptions data;
  TrunkOptions options{.model = "lenet", .weights = "random", .batch_size = 33};

  Trunk() {
    data.dataset = "mnist";
    data.split = "test";
    data.root = std::string(std::getenv("DISSENT_SOURCE_DIR")) + "/tests/data/mnist";
    data.rows = std::to_string(kRows);
    data.transform = "mnist_test";
  }
  void TearDown() override { set_threads(1); }

  FeatureSource open() const { return open_trunk_source(data, {}, options, at::kCPU); }
  at::Tensor features(int64_t pass = 0) const { return open().features(pass, 0, kRows); }
  std::string usage() const {
    return error_of(ErrorKind::kUsage, [&] { open(); });
  }
  // An image ensemble's checkpoint: parameters of member m are those of random weights with this
  // number.
  void write_checkpoint(const std::string& path, int64_t members, const std::string& group) const {
    const auto network = make_image_network("lenet", {});
    at::Tensor all = at::zeros({members, network->layout().size()});
    for (int64_t m = 0; m < members; ++m) network->initialise(all[m], 42, m);
    CheckpointWriter writer(*self, path,
                            fmt::format("[ensemble]\nmodel = \"lenet\"\nmembers = {}\n", members),
                            "hash", {{"classes", int64_t{10}}});
    for (const auto& entry : network->layout().entries()) {
      std::vector<int64_t> shape{members};
      shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
      writer.add("members/" + entry.name, shape, 0,
                 stacked_parameter(group == "members/" ? all : at::zeros_like(all), entry));
      if (group != "members/")
        writer.add(group + entry.name, shape, 0, stacked_parameter(all, entry));
    }
    writer.commit();
  }
};

}  // namespace

TEST_F(Trunk, GivesTheNetworksFeatures) {
  const auto source = open();
  EXPECT_EQ(source.rows, kRows);
  EXPECT_EQ(source.dim, 84);
  EXPECT_EQ(source.classes, 10);
  EXPECT_EQ(source.trunk, "lenet/features");
  EXPECT_EQ(source.transform, "mnist_test");
  EXPECT_EQ(source.name.rfind("mnist/test, 10000 images, ", 0), 0u) << source.name;
  EXPECT_TRUE(source.name.ends_with(", rows 0:150"));
  const auto network = make_image_network("lenet", {.classes = 0});
  auto weights = at::zeros({network->layout().size()});
  network->initialise(weights, 42, 0);
  const auto images = open_images(data);
  std::vector<at::Tensor> x;
  for (int64_t row = 0; row < kRows; ++row)
    x.push_back(transform_image(find_transform("mnist_test").options, images->image(row), {}));
  const at::NoGradGuard no_graph;
  const auto expected =
      network->forward(unpack(weights, network->layout()), {}, at::stack(x), false).features;
  const auto got = source.features(0, 0, kRows);
  EXPECT_LE(
      (got - expected).abs().max().item<double>(),
      64 * 1.2e-7 *
          expected.abs().max().item<double>());  // sums of up to 400 products in another order
  EXPECT_TRUE(at::equal(source.labels(7, 20), images->labels().narrow(0, 7, 20)));
}

// Ranks, shards and stops cut the rows anywhere.
TEST_F(Trunk, AnySplitOfTheRowsGivesTheSameBits) {
  data.transform = "mnist_train";
  const auto expected = features(1);
  for (const int threads : {1, 2})
    for (const int64_t workers : {0, 2}) {
      set_threads(threads);
      data.workers = workers;
      const auto source = open();
      std::vector<at::Tensor> pieces;
      const std::vector<int64_t> bounds{0, 1, 33, 66, 100, 101, 148, kRows};
      for (size_t i = 0; i + 1 < bounds.size(); ++i)
        pieces.push_back(source.features(1, bounds[i], bounds[i + 1] - bounds[i]));
      EXPECT_TRUE(at::equal(at::cat(pieces), expected))
          << threads << " threads, " << workers << " workers";
      EXPECT_TRUE(at::equal(source.features(1, 0, kRows), expected));
    }
  EXPECT_EQ(open().features(0, 40, 0).size(0), 0);  // a rank without rows
}

TEST_F(Trunk, PassesDrawAnew) {
  EXPECT_FALSE(open().draws);
  EXPECT_TRUE(at::equal(features(0), features(1)));
  data.transform = "mnist_train";
  EXPECT_TRUE(open().draws);
  const auto first = features(0);
  EXPECT_FALSE(at::equal(first, features(1)));
  EXPECT_TRUE(at::equal(first, features(0)));
  data.seed = 43;
  EXPECT_FALSE(at::equal(first, features(0)));
  data.transform = "mnist_test";
  EXPECT_TRUE(open_trunk_source(data, {.name = "fog", .severity = 2}, options, at::kCPU).draws);
  EXPECT_EQ(open_trunk_source(data, {.name = "fog", .severity = 2}, options, at::kCPU).transform,
            "mnist_test, fog 2");
}

TEST_F(Trunk, TheSameWeightsFromFileAndCheckpoint) {
  options.member = 1;
  const auto source = open();
  const auto expected = features();
  const auto network = make_image_network("lenet", {});
  auto flat = at::zeros({network->layout().size()});
  network->initialise(flat, 42, 1);
  write_safetensors(folder / "lenet.safetensors", state_dict(*network, flat, at::zeros({0})));
  StateDict prefixed;
  for (const auto& [name, tensor] : state_dict(*network, flat, at::zeros({0})))
    prefixed["nets.3." + name] = tensor;
  write_safetensors(folder / "nets.safetensors", prefixed);
  write_checkpoint(folder / "checkpoint.h5", 3, "members/");
  write_checkpoint(folder / "average.h5", 3, "average/");
  const auto expect_same = [&](const std::string& weights, bool same_checksum) {
    options.weights = weights;
    EXPECT_TRUE(at::equal(features(), expected)) << weights;
    EXPECT_EQ(open().weights == source.weights, same_checksum) << weights;
  };
  const auto checkpoint = folder / "checkpoint.h5";
  expect_same(checkpoint, false);  // with its classifier
  const auto sum = open().weights;
  expect_same(folder.path(), false);
  EXPECT_EQ(open().weights, sum);
  expect_same(folder / "average.h5", false);
  options.member = {};
  expect_same(folder / "lenet.safetensors", true);
  options.prefix = "nets.3.";
  expect_same(folder / "nets.safetensors", true);
  options = {.model = "lenet", .weights = checkpoint, .member = 2, .batch_size = 33};
  EXPECT_NE(open().weights, sum);
  EXPECT_FALSE(at::equal(features(), expected));
}

TEST_F(Trunk, HalfPrecisionIsNear) {
  const auto exact = features();
  options.precision = ComputePrecision::kBf16;
  const auto rounded = features();
  EXPECT_FALSE(at::equal(exact, rounded));
  EXPECT_LE((exact - rounded).abs().max().item<double>(),
            8 * 0.0078125 * exact.abs().max().item<double>());  // five layers of bf16
  options.precision = ComputePrecision::kF16;
  EXPECT_CONTAINS(usage(), "trunk.precision = \"f16\": expected a GPU, found none");
  options.precision = ComputePrecision::kTf32;
  EXPECT_CONTAINS(usage(), "trunk.precision = \"tf32\": expected a GPU, found none");
}

TEST_F(Trunk, CutsOfDeit) {
  options = {.model = "deit3_small_patch16_224",
             .weights = "random",
             .cut = "cls_after_last_attention",
             .batch_size = 2};
  data.rows = "3";
  data.transform = "sed_eval";
  const auto source = open();
  EXPECT_EQ(source.trunk, "deit3_small_patch16_224/cls_after_last_attention");
  const auto cut = source.features(0, 0, 3);
  EXPECT_EQ(cut.sizes().vec(), (std::vector<int64_t>{3, 384}));
  options.cut = "features";
  EXPECT_GT((open().features(0, 0, 3) - cut).abs().max().item<double>(), 0.01);
}

TEST_F(Trunk, ErrorsNameWhatDoesNotFit) {
  options.cut = "fetures";
  EXPECT_CONTAINS(
      usage(),
      "trunk.cut: expected one of features (lenet), found \"fetures\"; did you mean 'features'?");
  options.cut = "features";
  data.transform = "none";
  EXPECT_CONTAINS(usage(),
                  "data.transform: expected the transform to inputs of lenet, found \"none\"");
  data.transform = "mnist_test";
  options.weights = "";
  EXPECT_CONTAINS(usage(), "trunk.weights: expected the weights of lenet");
  write_checkpoint(folder / "checkpoint.h5", 3, "members/");
  options.weights = folder / "checkpoint.h5";
  EXPECT_CONTAINS(usage(), "trunk.member: expected 0 .. 2 (one network of ");
  options.member = 3;
  EXPECT_CONTAINS(usage(), "found 3");
  options.model = "resnet18_32x32";
  EXPECT_CONTAINS(usage(), "trunk.model: expected \"lenet\" (the network of ");
  options.member = {};
  const auto lenet = make_image_network("lenet", {});
  write_safetensors(folder / "lenet.safetensors",
                    state_dict(*lenet, at::zeros({lenet->layout().size()}), at::zeros({0})));
  options.weights = folder / "lenet.safetensors";
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open(); }),
                  "conv1.weight [64, 3, 3, 3] is not in the file");
  options.weights = folder / "none.pth";
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open(); }), "none.pth");
  data.dataset = "synthetic";
  EXPECT_CONTAINS(usage(),
                  "trunk.model: expected \"none\" (data.dataset = \"synthetic\" has features");
}

TEST_F(Trunk, ADamagedImageIsNamed) {
  atomic_write_text(folder / "broken.jpg", "no image");
  atomic_write_text(folder / "list.txt", "broken.jpg 0\n");
  data = {};
  data.list = folder / "list.txt";
  data.root = folder.path();
  data.transform = "mnist_test";
  for (const int64_t workers : {0, 1}) {
    data.workers = workers;
    const auto source = open();
    EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { source.features(0, 0, 1); }), "broken.jpg");
  }
}
