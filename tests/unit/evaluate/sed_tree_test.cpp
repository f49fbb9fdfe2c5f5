// configs/sed/evaluation.toml over a tree like that of SED's cached data: 30 folders of corruptions
// with spaces, hashed names, six single files.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/parallel.hpp"
#include "made_ensemble.hpp"
#include "self.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;
constexpr int64_t kTreeDim = 8, kTreeClasses = 1000, kTreeRows = 60;

const char* kCorruptions[] = {
    "Brightness",     "Contrast",   "Defocus Blur",  "Elastic Transform", "Fog",         "Frost",
    "Gaussian Noise", "Glass Blur", "Impulse Noise", "JPEG Compression",  "Motion Blur", "Pixelate",
    "Shot Noise",     "Snow",       "Zoom Blur"};

struct SedTree : ::testing::Test {
  TempFolder folder{*self};
  std::string cached = folder / "data/datasets/cached";
  std::filesystem::path before = std::filesystem::current_path();

  void SetUp() override {
    uint64_t seed = 10;
    for (const int severity : {1, 5})
      for (const char* corruption : kCorruptions) {
        const auto name = fmt::format("{}_{}", corruption, severity);
        std::filesystem::create_directories(cached + "/" + name);
        ++seed;
        write_sed_file(
            *self,
            fmt::format(
                "{}/{}/{:016x}_torch_load_block_-1_model_{}_dataset_1_epochs_50000_samples.hdf5",
                cached, name, seed * 0x9e3779b97f4a7c15u, name),
            kTreeRows + seed % 3, kTreeDim, kTreeClasses, seed, 0.2 * severity);
      }
    for (const auto& [name, classes] : {std::pair("in_a_deit3b_-1_", 200),
                                        {"in_r_deit3b_-1_", 200},
                                        {"in_val_deit3b_-1", 1000},
                                        {"inat_deit3b_-1_", 1000},
                                        {"oi_deit3b_-1_", 1000},
                                        {"in_train_deit3b_-1_4_epochs", 1000}})
      write_sed_file(*self, fmt::format("{}/{}.hdf5", cached, name), kTreeRows, kTreeDim, classes,
                     ++seed);
    std::filesystem::current_path(folder.path());
  }
  void TearDown() override { std::filesystem::current_path(before); }
};

}  // namespace

TEST_F(SedTree, OneCommandGivesTheRowsOfBothTables) {
  const auto config = read_evaluate(
      config::load_document(config::read_sources(std::string(std::getenv("DISSENT_SOURCE_DIR")) +
                                                 "/configs/sed/evaluation.toml"),
                            {"variables.format=hdf5"}));
  EXPECT_TRUE(conflicts(config).empty());
  const auto ensemble = made_ensemble(folder.path(), "linear", 3, kTreeDim, kTreeClasses);
  const auto result = evaluate(*self, {ensemble}, config, false, [](const Evaluation&) {});
  std::set<std::string> labelled, detected, diverse;
  for (const auto& row : result.rows) {
    if (row.metric == "accuracy") labelled.insert(row.dataset);
    if (row.metric == "diversity" && row.score == "pds") diverse.insert(row.dataset);
    if (row.metric == "auroc") detected.insert(row.dataset);
    EXPECT_EQ(row.convention, "sed");
    EXPECT_EQ(row.fidelity, row.predictor == "best" ? "chosen on the test set" : "")
        << row.predictor;
  }
  // Of the last two as if every image were of class 0, as the release's table has it.
  EXPECT_EQ(labelled, (std::set<std::string>{"in_val", "imagenet_a", "imagenet_r", "C-1", "C-5",
                                             "iNaturalist", "OpenImages"}));
  EXPECT_EQ(diverse, labelled);
  const auto plants = open_cache_set("data/datasets/cached/inat_deit3b_-1_.hdf5");
  EXPECT_DOUBLE_EQ(value_of(result.rows, "ensemble", "iNaturalist", "", "accuracy"),
                   ensemble.networks->forward(plants->inputs(0, plants->rows()), all_of(3), false)
                       .logits.mean(0)
                       .argmax(1)
                       .eq(0)
                       .to(at::kDouble)
                       .mean()
                       .item<double>());
  EXPECT_EQ(detected, (std::set<std::string>{"C-1", "C-5", "iNaturalist", "OpenImages"}));
  // Fifteen files: their figures' plain mean, whatever their rows.
  double sum = 0;
  int64_t n = 0;
  for (const auto& path : expand_paths({"data/datasets/cached/*_5/*.hdf5"})) {
    const auto set = open_cache_set(path);
    const auto logits =
        ensemble.networks->forward(set->inputs(0, set->rows()), all_of(3), false).logits;
    sum += logits.mean(0)
               .argmax(1)
               .eq(set->labels(0, set->rows()))
               .to(at::kDouble)
               .mean()
               .item<double>();
    n += set->rows();
  }
  EXPECT_DOUBLE_EQ(value_of(result.rows, "ensemble", "C-5", "", "accuracy"), sum / 15);
  for (const auto& row : result.rows) {
    if (row.dataset != "C-5" || row.metric != "accuracy") continue;
    EXPECT_EQ(row.n, n);
  }
}

TEST_F(SedTree, AMissingCorruptionFolderIsNotSilentlyLeftOut) {
  auto config = evaluate_config(
      "[evaluate]\nruns = [\"x\"]\nid = "
      "\"data/datasets/cached/in_val_deit3b_-1.hdf5\"\n[[evaluate.sets]]\nname = \"C-3\"\npaths = "
      "[\"data/datasets/cached/*_3/*.hdf5\"]\n");
  const auto message = error_of(ErrorKind::kData, [&] {
    evaluate(*self, {made_ensemble(folder.path(), "linear", 2, kTreeDim, kTreeClasses)}, config,
             false, [](const Evaluation&) {});
  });
  EXPECT_CONTAINS(message,
                  "data/datasets/cached/*_3/*.hdf5: expected files or folders of this name or "
                  "pattern, found none");
  std::filesystem::remove_all(cached + "/Zoom Blur_5");
  config = read_evaluate(
      config::load_document(config::read_sources(std::string(std::getenv("DISSENT_SOURCE_DIR")) +
                                                 "/configs/sed/evaluation.toml"),
                            {"variables.format=hdf5"}));
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData,
               [&] {
                 evaluate(*self,
                          {made_ensemble(folder.path(), "linear", 2, kTreeDim, kTreeClasses)},
                          config, false, [](const Evaluation&) {});
               }),
      "C-5: expected 15 files, found 14 that match data/datasets/cached/*_5/*.hdf5");
}
