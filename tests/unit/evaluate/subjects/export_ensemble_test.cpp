#include "evaluate/subjects/export_ensemble.hpp"
#include "evaluate/subjects/ensemble_file.hpp"

#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>

#include "models/networks/registry.hpp"
#include "models/weights/load.hpp"
#include "self.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;
constexpr int64_t kMembers = 3;
constexpr const char* kConfig =
    "seeds = [42]\n[ensemble]\nmodel = \"resnet18_32x32\"\nmembers = 3\n[data]\nkind = \"images\"\n"
    "transform = \"cifar10_test\"\n[loss.oe]\nweight = 0.5\n";

struct ExportTest : ::testing::Test {
  TempFolder folder{*self};
  std::string run = folder / "checkpoint.h5", output = folder / "out";
  std::unique_ptr<ImageNetwork> network;
  at::Tensor flat, buffers;  // [M, P], [M, Q]

  void write(const std::string& model, int64_t buffer_members = kMembers) {
    network = make_image_network(model, {.classes = 7});
    flat = at::rand({kMembers, network->layout().size()});
    buffers = at::randint(1, 9, {buffer_members, network->buffer_layout().size()}).to(at::kFloat);
    CheckpointWriter writer(
        *self, run, kConfig, "cafe",
        {{"epoch", int64_t{4}}, {"seed", int64_t{42}}, {"classes", int64_t{7}}});
    const auto add = [&](const std::string& group, const ParameterLayout& layout,
                         const at::Tensor& stack) {
      for (const auto& entry : layout.entries()) {
        std::vector<int64_t> shape{stack.size(0)};
        shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
        writer.add(group + entry.name, shape, 0, stacked_parameter(stack, entry).contiguous());
      }
    };
    add("members/", network->layout(), flat);
    add("buffers/", network->buffer_layout(), buffers);
    writer.commit();
  }
};

}  // namespace

TEST_F(ExportTest, MembersLoadIntoTheirNetwork) {
  write("resnet18_32x32");
  const auto paths = export_ensemble(run, output, ExportNames::kOwn);
  ASSERT_EQ(paths.size(), static_cast<size_t>(kMembers + 1));
  for (int64_t m = 0; m < kMembers; ++m) {
    const auto weights = read_safetensors(paths[static_cast<size_t>(m)]);
    EXPECT_EQ(weights.at("bn1.num_batches_tracked").scalar_type(), at::kLong);
    EXPECT_EQ(weights.at("fc.weight").sizes(), (at::IntArrayRef{7, 512}));
    auto parameters = at::zeros_like(flat[m]), state = at::zeros_like(buffers[m]);
    load_weights(*network, parameters, state, weights, {}, paths[static_cast<size_t>(m)]);
    for (const auto& entry : network->layout().entries())
      EXPECT_TRUE(at::equal(parameter(parameters, entry), parameter(flat[m], entry))) << entry.name;
    for (const auto& entry : network->buffer_layout().entries())
      EXPECT_TRUE(at::equal(parameter(state, entry), parameter(buffers[m], entry))) << entry.name;
  }
}

TEST_F(ExportTest, TheDescriptionHoldsTheConfiguration) {
  write("resnet18_32x32");
  std::ifstream file(export_ensemble(run, output, ExportNames::kOwn).back());
  const auto made = nlohmann::json::parse(file);
  EXPECT_EQ(made["model"], "resnet18_32x32");
  EXPECT_EQ(made["transform"], "cifar10_test");
  EXPECT_EQ(made["classes"], 7);
  EXPECT_EQ(made["members"], kMembers);
  EXPECT_EQ(made["files"], nlohmann::json({"member-0.safetensors", "member-1.safetensors",
                                           "member-2.safetensors"}));
  EXPECT_EQ(made["config_hash"], "cafe");
  EXPECT_EQ(made["configuration"]["loss"]["oe"]["weight"], 0.5);
  EXPECT_EQ(made["configuration"]["seeds"], nlohmann::json({42}));
}

TEST(TrainingHash, IsOfTheConfigurationWithoutItsSeed) {
  const std::string one = "experiment = \"e\"\nseeds = [1]\n\n[data]\nseeds = [1]\n";
  const auto with = [&](const std::string& from, const std::string& to) {
    auto text = one;
    return training_hash(text.replace(text.rfind(from), from.size(), to));
  };
  EXPECT_EQ(training_hash(one).size(), 16u);
  EXPECT_EQ(with("seeds = [1]\n\n", "seeds = [27]\n\n"), training_hash(one));
  EXPECT_NE(with("seeds = [1]", "seeds = [27]"), training_hash(one));  // of a table
  EXPECT_NE(with("\"e\"", "\"f\""), training_hash(one));
}

// The folder is evaluated as the run is.
TEST_F(ExportTest, AnExportedFolderIsTheSameEnsemble) {
  write("resnet18_32x32");
  const auto first = load_ensemble(run);
  export_ensemble(run, output, ExportNames::kOwn);
  const auto second = load_ensemble(output);
  EXPECT_EQ(second.run, first.run);
  EXPECT_EQ(second.experiment, first.experiment);
  EXPECT_EQ(second.method, first.method);
  EXPECT_EQ(second.config_hash, first.config_hash);
  EXPECT_EQ(second.training_hash, first.training_hash);
  EXPECT_FALSE(second.training_hash.empty());
  EXPECT_EQ(second.seed, first.seed);
  EXPECT_EQ(second.transform, first.transform);
  EXPECT_EQ(second.identity, first.identity);  // of the weights too
  EXPECT_EQ(second.members(), kMembers);
  const auto x = at::rand({2, 3, 32, 32});
  EXPECT_TRUE(
      at::equal(second.forward(x, {0, 2}, false).logits, first.forward(x, {0, 2}, false).logits));
}

TEST_F(ExportTest, AChangedValueIsFound) {
  write("lenet");
  const auto files = export_ensemble(run, output, ExportNames::kOwn);
  change_byte(files[1], static_cast<int64_t>(std::filesystem::file_size(files[1])) - 2);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { load_ensemble(output); }),
                  "member-1.safetensors: damaged: expected checksum xxh3:");
}

// A limit of the size of files stands for a full disk.
TEST_F(ExportTest, AnExportThatFailsLeavesTheOldOne) {
  write("lenet");
  const auto paths = export_ensemble(run, output, ExportNames::kOwn);
  const auto texts = [&] {
    std::vector<std::string> found;
    for (const auto& path : paths) found.push_back(read_text(path));
    return found;
  };
  const auto before = texts();

  write("lenet");  // other weights
  struct rlimit saved;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &saved), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit low{.rlim_cur = 1000, .rlim_max = saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  const auto message =
      error_of(ErrorKind::kData, [&] { export_ensemble(run, output, ExportNames::kOwn); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &saved), 0);
  EXPECT_CONTAINS(message, "member-0.safetensors: cannot write");
  EXPECT_EQ(texts(), before);
  EXPECT_FALSE(path_exists(output + "/.unfinished"));

  export_ensemble(run, output, ExportNames::kOwn);
  EXPECT_NE(texts(), before);
}

TEST_F(ExportTest, WhatAFolderLacksIsNamed) {
  write("resnet18_32x32");
  export_ensemble(run, output, ExportNames::kOwn);
  const auto path = output + "/ensemble.json";
  std::ifstream file(path);
  const auto made = nlohmann::json::parse(file);
  const auto message = [&](const std::function<void(nlohmann::json&)>& change) {
    auto changed = made;
    change(changed);
    std::ofstream(path) << changed.dump();
    return error_of(ErrorKind::kData, [&] { load_ensemble(output); });
  };
  EXPECT_EQ(message([](auto& json) { json.erase("classes"); }),
            path + ": classes: expected an integer, found nothing");
  EXPECT_EQ(message([](auto& json) { json["method"] = 3; }),
            path + ": method: expected a string, found number");
  EXPECT_EQ(message([](auto& json) { json["files"] = "x"; }),
            path + ": files: expected a list of file names, found string");
  EXPECT_EQ(message([](auto& json) { json["version"] = 2; }),
            path + ": version: expected 1, found 2");
  EXPECT_CONTAINS(message([](auto& json) { json["classes"] = 8; }),
                  output + "/member-0.safetensors: fc.weight is [7, 512] in the file, [8, 512] in");
  EXPECT_EQ(message([](auto& json) { json["files"] = {"gone.safetensors"}; }),
            path + ": checksums: expected one string per file, found array");
  EXPECT_CONTAINS(message([](auto& json) {
                    json["files"] = {"gone.safetensors"};
                    json.erase("checksums");
                  }),
                  output + "/gone.safetensors");
  std::ofstream(path) << "{";
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { load_ensemble(output); }),
                  path + ": expected a JSON object");
}

TEST_F(ExportTest, TimmHasOtherNamesForLayerScales) {
  CheckpointWriter writer(*self, run, kConfig, "cafe", {{"epoch", int64_t{4}}});
  writer.add("members/blocks.0.gamma_1", {2, 3}, 0, at::rand({2, 3}));
  writer.add("members/blocks.0.gamma_2", {2, 3}, 0, at::rand({2, 3}));
  writer.commit();
  const auto names = [&](ExportNames kind) {
    std::vector<std::string> keys;
    for (const auto& [name, tensor] : read_safetensors(export_ensemble(run, output, kind)[1]))
      keys.push_back(name);
    return keys;
  };
  EXPECT_EQ(names(ExportNames::kTimm),
            (std::vector<std::string>{"blocks.0.ls1.gamma", "blocks.0.ls2.gamma"}));
  EXPECT_EQ(names(ExportNames::kOwn),
            (std::vector<std::string>{"blocks.0.gamma_1", "blocks.0.gamma_2"}));
}

// As evaluate and cache do: where the training kept a moving average of the weights, that is the
// ensemble.
TEST_F(ExportTest, TheMovingAverageWhereThereIsOne) {
  CheckpointWriter writer(*self, run, kConfig, "cafe", {{"epoch", int64_t{4}}});
  const auto average = at::rand({2, 3});
  writer.add("members/fc.weight", {2, 3}, 0, at::rand({2, 3}));
  writer.add("average/fc.weight", {2, 3}, 0, average);
  writer.commit();
  const auto paths = export_ensemble(run, output, ExportNames::kOwn);
  EXPECT_TRUE(at::equal(read_safetensors(paths[1]).at("fc.weight"), average[1]));
  std::ifstream file(paths.back());
  EXPECT_EQ(nlohmann::json::parse(file)["weights"], "average");
}

TEST_F(ExportTest, NamesWhatDoesNotFit) {
  EXPECT_CONTAINS(error_of(ErrorKind::kData,
                           [&] { export_ensemble(folder / "none.h5", output, ExportNames::kOwn); }),
                  "none.h5: no such checkpoint");
  write("resnet18_32x32", 2);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { export_ensemble(run, output, ExportNames::kOwn); }),
      "found 2");
}
