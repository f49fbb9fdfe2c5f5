#include "config/resolved.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>

#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

namespace {

std::string toml_of(Sample sample) { return to_toml(sample.schema()); }
std::string hash_of(Sample sample) { return config_hash(sample.schema()); }

std::vector<std::string> differences(const std::string& file, const std::string& current) {
  Sample sample;
  return differing_keys(file, current, sample.schema());
}

}  // namespace

TEST(Resolved, TextHasEveryKeyInOrder) {
  Sample sample = read_sample(
      "[training]\nepochs = 11\n[loss.a2d]\n[loss.entropy]\n[[evaluate.sets]]\nname = "
      "'a'\n[[evaluate.sets]]\n");
  EXPECT_EQ(to_toml(sample.schema()), R"(experiment = "unnamed"
seeds = [42]

[training]
epochs = 11
learning_rate = 0.001
precision = "f32"
nesterov = false
threads = "auto"
milestones = []
metrics = ["accuracy"]
offset = 0.0

[loss.a2d]
weight = 1.0
sample_weight = "none"

[loss.entropy]

[[evaluate.sets]]
name = "a"
shift = "id"
workers = 1

[[evaluate.sets]]
name = ""
shift = "id"
workers = 1
)");
  EXPECT_EQ(toml_of({}).find("[loss"), std::string::npos);
  EXPECT_EQ(toml_of({}).find("[[evaluate"), std::string::npos);
}

TEST(Resolved, TextReadsBackAsItself) {
  Sample sample;
  sample.run.experiment = "q\"\\ \n\t\x01\x7f é 日本 #[x]";
  sample.run.seeds = {0, INT64_MAX};
  sample.training.learning_rate = 5e-324;
  sample.training.milestones = {0.1, 1e-3, 1.0 / 3, 1e300, 2};
  sample.training.offset = -0.0;
  sample.training.threads = 7;
  sample.with_a2d = sample.with_entropy = true;
  sample.a2d.weight = 0.1 + 0.2;
  sample.sets = {{"x", "near", 2}, {}};
  const std::string text = to_toml(sample.schema());
  Sample again = read_sample(text);
  EXPECT_EQ(to_toml(again.schema()), text);
  EXPECT_EQ(config_hash(again.schema()), config_hash(sample.schema()));
  EXPECT_EQ(again.run.experiment, sample.run.experiment);
  EXPECT_EQ(again.run.seeds, sample.run.seeds);
  EXPECT_EQ(again.training.learning_rate, 5e-324);
  EXPECT_EQ(again.training.milestones, sample.training.milestones);
  EXPECT_TRUE(std::signbit(again.training.offset));
  EXPECT_EQ(again.a2d.weight, 0.30000000000000004);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double number : {infinity, -infinity, std::nan(""), 1e22, 1.7976931348623157e308}) {
    sample.training.offset = number;
    EXPECT_EQ(toml_of(read_sample(toml_of(sample))), toml_of(sample)) << number;
  }
}

// Run folders and checkpoints carry the hash: a change of the text or of the hash must show.
TEST(Resolved, HashIsPinned) { EXPECT_EQ(hash_of({}), "e7b17a51b5ead0fa"); }

TEST(Resolved, HashIgnoresExecutionKeysAndNothingElse) {
  const auto hash = [](const std::string& text) { return hash_of(read_sample(text)); };
  const std::string plain = hash("");
  EXPECT_EQ(hash("[training]\nthreads = 9\nmetrics = ['auroc']\n"), plain);
  EXPECT_EQ(hash("# no difference\n[training]\nepochs = 1\n"), plain);
  EXPECT_EQ(hash("[[evaluate.sets]]\nworkers = 1\n"), hash("[[evaluate.sets]]\nworkers = 5\n"));
  std::set<std::string> hashes = {plain};
  for (const auto* text :
       {"experiment = 'x'\n", "seeds = [43]\n", "[training]\nepochs = 2\n",
        "[training]\nlearning_rate = 0.0010000000000000002\n", "[loss.a2d]\n", "[loss.entropy]\n",
        "[[evaluate.sets]]\n", "[[evaluate.sets]]\nname = 'x'\n"})
    EXPECT_TRUE(hashes.insert(hash(text)).second) << text;
}

TEST(Resolved, DifferingKeysNamesResultKeysOnly) {
  Sample a, b;
  b.training.learning_rate = 0.2;
  b.training.threads = 3;
  b.run.seeds = {1, 2};
  b.with_a2d = true;
  EXPECT_EQ(differences(toml_of(a), toml_of(b)),
            (std::vector<std::string>{
                "seeds: [42] in the file, [1, 2] in this configuration",
                "training.learning_rate: 0.001 in the file, 0.2 in this configuration",
                "loss.a2d: not in the file, present in this configuration"}));
  EXPECT_TRUE(differences(toml_of(b), toml_of(b)).empty());
  EXPECT_EQ(differences(toml_of(b), toml_of(a))[2],
            "loss.a2d: present in the file, not in this configuration");
}

TEST(Resolved, DifferingKeysLooksIntoTablesPresentInBoth) {
  Sample a, b;
  a.with_a2d = b.with_a2d = true;
  b.a2d.sample_weight = "hard";
  a.sets = {{"x", "id", 1}, {"y", "id", 1}};
  b.sets = {{"x", "far", 2}};
  EXPECT_EQ(differences(toml_of(a), toml_of(b)),
            (std::vector<std::string>{
                "loss.a2d.sample_weight: \"none\" in the file, \"hard\" in this configuration",
                "evaluate.sets: 2 tables in the file, 1 tables in this configuration",
                "evaluate.sets[0].shift: \"id\" in the file, \"far\" in this configuration"}));
}

TEST(Resolved, FilesOfOtherVersionsCompareByDefaults) {
  Sample current;
  EXPECT_TRUE(differences("", toml_of(current)).empty());  // what the file lacks has its default
  current.training.epochs = 5;
  EXPECT_EQ(differences("", toml_of(current)),
            std::vector<std::string>{
                "training.epochs: 1 (default) in the file, 5 in this configuration"});
  EXPECT_EQ(
      differences("[training]\nepochs = 5\nwarp = 2\n[loss.old]\n", toml_of(current)),
      (std::vector<std::string>{"loss.old: a table in the file, unknown in this configuration",
                                "training.warp: 2 in the file, unknown in this configuration"}));
  Sample same;
  EXPECT_EQ(difference("", toml_of(same), current.schema(), "f"),
            "the same keys, written by another version of the program");
  EXPECT_EQ(difference("", toml_of(current), current.schema(), "f"),
            "training.epochs: 1 (default) in the file, 5 in this configuration");
  EXPECT_EQ(error_lines([&] { differences("a = = 1", toml_of(current)); })[0].substr(0, 16),
            "checkpoint:1:5: ");
}
