#include "config/read.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

namespace {

using Lines = std::vector<std::string>;

}  // namespace

TEST(Read, FillsWhatIsWrittenAndKeepsDefaults) {
  const Sample sample = read_sample(
      "experiment = \"é \\\"x\\\" \\u00fc\"\nseeds = [1, 2]\n[training]\nepochs = "
      "11\nlearning_rate = 2\nthreads = 4\nmilestones = [1, 2.5]\n"
      "[loss.a2d]\nsample_weight = 'hard'\n[[evaluate.sets]]\nname = "
      "\"C-5\"\n[[evaluate.sets]]\nshift = \"far\"\nworkers = 3\n");
  EXPECT_EQ(sample.run.experiment, "é \"x\" ü");
  EXPECT_EQ(sample.run.seeds, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(sample.training.epochs, 11);
  EXPECT_EQ(sample.training.learning_rate, 2.0);  // an integer where a number is expected
  EXPECT_EQ(sample.training.precision, "f32");
  EXPECT_EQ(sample.training.threads, 4);
  EXPECT_EQ(sample.training.milestones, (std::vector<double>{1, 2.5}));
  EXPECT_TRUE(sample.with_a2d);
  EXPECT_EQ(sample.a2d.weight, 1.0);
  EXPECT_EQ(sample.a2d.sample_weight, "hard");
  EXPECT_FALSE(sample.with_entropy);
  ASSERT_EQ(sample.sets.size(), 2u);
  EXPECT_EQ(sample.sets[0].name, "C-5");
  EXPECT_EQ(sample.sets[1].shift, "far");
  EXPECT_EQ(sample.sets[1].workers, 3);
}

TEST(Read, NumbersAreExact) {
  EXPECT_EQ(read_sample("[training]\nlearning_rate = 5e-324\n").training.learning_rate, 5e-324);
  EXPECT_EQ(read_sample("[training]\nlearning_rate = 0.1\n").training.learning_rate, 0.1);
  EXPECT_EQ(read_sample("seeds = [9223372036854775807]\n").run.seeds[0], INT64_MAX);
  EXPECT_TRUE(std::isnan(read_sample("[training]\noffset = nan\n").training.offset));
}

TEST(Read, ReadingAgainForgetsTablesAndLists) {
  Sample sample = read_sample("[loss.a2d]\n[loss.entropy]\n[[evaluate.sets]]\n");
  EXPECT_TRUE(sample.with_a2d && sample.with_entropy);
  read(document_of(""), sample.schema());
  EXPECT_FALSE(sample.with_a2d || sample.with_entropy);
  EXPECT_TRUE(sample.sets.empty());
}

TEST(Read, OptionalTablesAreSwitchedByOverrides) {
  EXPECT_FALSE(read_sample("[loss.a2d]\nweight = 3\n", {"loss.a2d=false"}).with_a2d);
  EXPECT_TRUE(read_sample("", {"loss.entropy=true"}).with_entropy);
  const Sample sample = read_sample("", {"loss.a2d.weight=0.5"});
  EXPECT_TRUE(sample.with_a2d);
  EXPECT_EQ(sample.a2d.weight, 0.5);
}

TEST(Read, UnknownNamesPointAtTheKeyAndNameTheNearest) {
  EXPECT_EQ(sample_errors("[loss.a2d]\n  weigth = 2\n"),
            Lines{"run.toml:2:3: loss.a2d.weigth: unknown key; did you mean 'weight'?"});
  EXPECT_EQ(sample_errors("[trainng]\nepochs = 1\n"),
            Lines{"run.toml:1:2: trainng: unknown table; did you mean 'training'?"});
  EXPECT_EQ(sample_errors("[loss.a2]\n"),
            Lines{"run.toml:1:7: loss.a2: unknown table; did you mean 'a2d'?"});
  EXPECT_EQ(sample_errors("[[evaluate.set]]\n"),
            Lines{"run.toml:1:12: evaluate.set: unknown table; did you mean 'sets'?"});
  EXPECT_EQ(sample_errors("epochs = 3\n"),
            Lines{"run.toml:1:1: epochs: unknown key; did you mean 'training.epochs'?"});
  EXPECT_EQ(sample_errors("zzzzzz = 3\n"), Lines{"run.toml:1:1: zzzzzz: unknown key"});
  EXPECT_EQ(sample_errors("[[evaluate.sets]]\n[[evaluate.sets]]\nnam = 1\n"),
            Lines{"run.toml:3:1: evaluate.sets[1].nam: unknown key; did you mean 'name'?"});
  EXPECT_EQ(sample_errors("[training]\n\"a b\" = 1\n"),
            Lines{"run.toml:2:1: training.\"a b\": unknown key"});
  EXPECT_EQ(
      sample_errors("[loss.entropy]\nweight = 1\n"),
      Lines{"run.toml:2:1: loss.entropy.weight: unknown key; did you mean 'loss.a2d.weight'?"});
}

TEST(Read, WrongTypesPointAtTheValueAndShowIt) {
  const auto error = [](const std::string& setting) {
    return sample_errors("[training]\n" + setting + "\n")[0];
  };
  EXPECT_EQ(error("epochs = \"ten\""),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found \"ten\"");
  EXPECT_EQ(error("epochs = 2.0"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found 2.0");
  EXPECT_EQ(error("epochs = true"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found true");
  EXPECT_EQ(error("epochs = [1, 2]"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found [1, 2]");
  EXPECT_EQ(error("epochs = 2024-01-02"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found 2024-01-02");
  EXPECT_EQ(error("epochs = {a = 1}"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found a table");
  EXPECT_EQ(error("nesterov = 1"),
            "run.toml:2:12: training.nesterov: expected true or false, found 1");
  EXPECT_EQ(error("offset = 'x'"),
            "run.toml:2:10: training.offset: expected a number, found \"x\"");
  EXPECT_EQ(error("threads = \"atuo\""),
            "run.toml:2:11: training.threads: expected an integer >= 1 or \"auto\", found "
            "\"atuo\"; did you mean 'auto'?");
  EXPECT_EQ(error("milestones = 3"),
            "run.toml:2:14: training.milestones: expected a list of numbers >= 0, found 3");
}

TEST(Read, ValuesOutOfRangeOrNotAmongTheChoices) {
  const auto error = [](const std::string& setting) {
    return sample_errors("[training]\n" + setting + "\n")[0];
  };
  EXPECT_EQ(error("epochs = 0"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found 0");
  EXPECT_EQ(error("epochs = -9223372036854775808"),
            "run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found "
            "-9223372036854775808");
  // A bound on one side, and what a product of sizes can hold.
  EXPECT_EQ(error("threads = 0"),
            "run.toml:2:11: training.threads: expected an integer >= 1 or \"auto\", found 0");
  EXPECT_EQ(error("threads = 9223372036854775807"),
            "run.toml:2:11: training.threads: expected an integer in 1 .. 1099511627776 or "
            "\"auto\", found 9223372036854775807");
  EXPECT_EQ(error("learning_rate = -1e-3"),
            "run.toml:2:17: training.learning_rate: expected a finite number >= 0, found -0.001");
  EXPECT_EQ(error("learning_rate = inf"),
            "run.toml:2:17: training.learning_rate: expected a finite number >= 0, found inf");
  EXPECT_EQ(error("learning_rate = nan"),
            "run.toml:2:17: training.learning_rate: expected a finite number >= 0, found nan");
  EXPECT_EQ(error("precision = \"bf61\""),
            "run.toml:2:13: training.precision: expected one of f32, bf16, f16; found \"bf61\"; "
            "did you mean 'bf16'?");
  EXPECT_EQ(error("precision = \"double\""),
            "run.toml:2:13: training.precision: expected one of f32, bf16, f16; found \"double\"");
  EXPECT_EQ(error("precision = 16"),
            "run.toml:2:13: training.precision: expected one of f32, bf16, f16; found 16");
}

TEST(Read, SeedsAreAnyIntegerFromZero) {
  EXPECT_EQ(sample_errors("seeds = [9223372036854775807]\n"), Lines{"no error"});
}

TEST(Read, EveryBadElementOfAListIsNamed) {
  EXPECT_EQ(sample_errors("seeds = [1, -2, \"x\", 3, true]\n"),
            (Lines{"run.toml:1:13: seeds[1]: expected an integer >= 0, found -2",
                   "run.toml:1:17: seeds[2]: expected an integer >= 0, found \"x\"",
                   "run.toml:1:25: seeds[4]: expected an integer >= 0, found true"}));
  EXPECT_EQ(sample_errors("[training]\nmetrics = [\"accuracy\", \"aurco\"]\n"),
            Lines{"run.toml:2:24: training.metrics[1]: expected one of accuracy, auroc; found "
                  "\"aurco\"; did you mean 'auroc'?"});
  EXPECT_EQ(
      sample_errors("[training]\nmilestones = [1, [2]]\n"),
      Lines{"run.toml:2:18: training.milestones[1]: expected a finite number >= 0, found [2]"});
  EXPECT_TRUE(read_sample("seeds = []\n").run.seeds.empty());
}

TEST(Read, ValuesWhereTablesAreExpected) {
  EXPECT_EQ(sample_errors("training = 3\n"),
            Lines{"run.toml:1:12: training: expected a table, found 3"});
  EXPECT_EQ(sample_errors("loss = 3\n"), Lines{"run.toml:1:8: loss: expected a table, found 3"});
  EXPECT_EQ(sample_errors("loss.a2d = 3\n"),
            Lines{"run.toml:1:12: loss.a2d: expected a table, or false to leave it out, found 3"});
  EXPECT_EQ(sample_errors("[evaluate.sets]\nname = 'x'\n"),
            Lines{"run.toml:1:1: evaluate.sets: expected an array of tables, [[evaluate.sets]], "
                  "found a table"});
  EXPECT_EQ(sample_errors("evaluate.sets = ['x']\n"),
            Lines{"run.toml:1:18: evaluate.sets[0]: expected a table, found \"x\""});
  EXPECT_EQ(sample_errors("[[training]]\n"),
            Lines{"run.toml:1:1: training: expected a table, found an array of tables"});
}

TEST(Read, OverridesAreCheckedLikeFiles) {
  EXPECT_EQ(sample_errors("", {"training.epochs=ten", "training.epoch=3", "training.epochs.x=1"}),
            (Lines{"--set: training.epoch: unknown key; did you mean 'epochs'?",
                   "--set: training.epochs: expected an integer in 1 .. 10000, found a table"}));
}

TEST(Read, AllErrorsOfAFileAtOnceInItsOrder) {
  EXPECT_EQ(
      sample_errors("seed = [1]\n[training]\nprecision = \"f64\"\nepochs = "
                    "0\n[loss.b]\n[[evaluate.sets]]\nshift = 1\n"),
      (Lines{"run.toml:1:1: seed: unknown key; did you mean 'seeds'?",
             "run.toml:3:13: training.precision: expected one of f32, bf16, f16; found \"f64\"",
             "run.toml:4:10: training.epochs: expected an integer in 1 .. 10000, found 0",
             "run.toml:5:7: loss.b: unknown table",
             "run.toml:7:9: evaluate.sets[0].shift: expected one of id, near, far; found 1"}));
}

TEST(Read, ModulesAddTheirErrorsToTheSameReport) {
  const Document document = document_of("experiment = 3\n[training]\nepochs = 0\nthreads = 5\n");
  const auto lines = error_lines([&] {
    Sample sample;
    ConfigErrors errors(document);
    read(document, sample.schema(), errors);
    errors.add("training.threads", "expected at most 4, the cores of this host, found 5");
    errors.add("training.learning_rate", "expected a value for sgd");
    errors.add("training.epochs", "follows from the error that the key has already");
    errors.raise();
  });
  EXPECT_EQ(
      lines,
      (Lines{
          "run.toml:1:14: experiment: expected a string, found 3",
          "run.toml:2:1: training.learning_rate: expected a value for sgd",
          "run.toml:3:10: training.epochs: expected an integer in 1 .. 10000, found 0",
          "run.toml:4:11: training.threads: expected at most 4, the cores of this host, found 5"}));
}

TEST(Read, LongValuesAreCutBetweenCharacters) {
  std::string word;
  for (int i = 0; i < 40; ++i) word += "é";
  std::string shown = "\"";
  for (int i = 0; i < 29; ++i) shown += "é";  // 1 + 58 bytes; a thirtieth would end at byte 61
  EXPECT_EQ(sample_errors("[training]\nepochs = \"" + word + "\"\n"),
            Lines{"run.toml:2:10: training.epochs: expected an integer in 1 .. 10000, found " +
                  shown + "..."});
}

TEST(Read, FormerNamesOfKeysAreAcceptedButNotBesideThePresentName) {
  struct Renamed {
    bool plots = false;
  } renamed;
  const TableSpec spec =
      TableOf<Renamed>("evaluate", "")
          .option("plots", &Renamed::plots, {.meaning = "", .former_names = {"figures"}});
  Schema schema;
  schema.table(spec, renamed);
  read(document_of("[evaluate]\nfigures = true\n"), schema);
  EXPECT_TRUE(renamed.plots);
  EXPECT_EQ(error_lines([&] { read(document_of("[evaluate]\nfigures = 3\n"), schema); }),
            Lines{"run.toml:2:11: evaluate.figures: expected true or false, found 3"});
  EXPECT_EQ(
      error_lines([&] { read(document_of("[evaluate]\nplots = true\nfigures = true\n"), schema); }),
      Lines{"run.toml:3:1: evaluate.figures: expected only 'plots', the present name of this "
            "key, found both"});
}

TEST(Schema, DefectsOfBindingsAreFound) {
  Sample sample;
  bool present = false;
  int64_t other = 0;
  struct Loose {
    int64_t value = 0;
  } loose;
  const auto kind = [](const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kData;
  };
  const auto value_spec = [](const std::string& table, const std::string& key) {
    return TableSpec(TableOf<Loose>(table, "").option(key, &Loose::value, {.meaning = ""}));
  };
  EXPECT_EQ(kind([&] { sample.schema().optional_table("training", "", present); }),
            ErrorKind::kInternal);  // bound twice
  EXPECT_EQ(kind([&] { Schema().table(value_spec("t", "value"), other); }),
            ErrorKind::kInternal);  // another struct
  EXPECT_EQ(kind([&] { Schema().table(value_spec("t", "a b"), loose); }),
            ErrorKind::kInternal);  // needs quotes
  EXPECT_EQ(kind([&] { Schema().table(value_spec("", "include"), loose); }),
            ErrorKind::kInternal);  // taken
  EXPECT_EQ(kind([&] { sample.schema().table(value_spec("training.epochs", "x"), loose); }),
            ErrorKind::kInternal);  // a key already
  EXPECT_EQ(kind([&] { sample.schema().table(value_spec("loss", "a2d"), loose); }),
            ErrorKind::kInternal);  // a table already
  EXPECT_EQ(kind([&] { sample.schema().table(value_spec("loss", "weight"), loose); }),
            ErrorKind::kData);  // fits
}
