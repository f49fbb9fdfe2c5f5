#include <cstdint>

#include "config/described.hpp"

#include <gtest/gtest.h>

#include <dissent/error.hpp>

#include "config/describe.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

namespace {

// The sample's schema, written down and read again.
Description description() {
  Sample sample;
  return Description::from_json(Description::of(sample.schema()).to_json());
}

Document parsed(const std::string& text) { return load_document(read_sources("run.toml", text)); }

// Resolved text, or the error of reading.
std::string resolved(const std::string& text, const Schema& schema) {
  try {
    read(parsed(text), schema);
  } catch (const Error& error) {
    return error.what();
  }
  return to_toml(schema) + result_toml(schema) + config_hash(schema);
}

}  // namespace

TEST(Described, PagesAreThoseOfTheSchema) {
  Sample sample;
  const DescribedConfig config(description());
  for (const auto format : {Format::kToml, Format::kMarkdown})
    EXPECT_EQ(describe(config.schema(), format), describe(sample.schema(), format));
}

TEST(Described, TextHashAndErrorsAreThoseOfTheSchema) {
  const std::vector<std::string> texts{
      "",
      "experiment = \"q\\\"\\\\ \\n é\"\nseeds = [0, 9223372036854775807]\n",
      "[training]\nlearning_rate = 1\nthreads = 7\nmilestones = [1, 0.3333333333333333, 1e300]\n",
      "[training]\nthreads = \"auto\"\nnesterov = true\noffset = -0.0\nmetrics = []\n",
      "loss.entropy = true\n[loss.a2d]\nweight = 0.1\nsample_weight = \"hard\"\n",
      "loss.a2d = false\n",
      "[[evaluate.sets]]\nname = \"a\"\n[[evaluate.sets]]\nshift = \"near\"\nworkers = 2\n",
      // Errors: unknown key and table, types, ranges, choices.
      "epochs = 3\n",
      "[trainin]\nepochs = 3\n",
      "[training]\nepochs = 0\n",
      "[training]\nepochs = 1.5\nprecision = \"f61\"\nthreads = \"all\"\n",
      "[training]\nmilestones = [1, \"x\"]\nmetrics = [\"aurok\"]\n",
      "evaluate.sets = 3\nloss.a2d = 3\n",
  };
  for (const auto& text : texts) {
    Sample sample;
    const DescribedConfig config(description());
    EXPECT_EQ(resolved(text, config.schema()), resolved(text, sample.schema())) << text;
  }
}

TEST(Described, ValuesAreReadAndSet) {
  DescribedConfig config(description());
  EXPECT_EQ(std::get<std::string>(config.value("", "experiment")), "unnamed");
  read(parsed("seeds = [3, 4]\n"), config.schema());
  EXPECT_EQ(std::get<std::vector<int64_t>>(config.value("", "seeds")),
            (std::vector<int64_t>{3, 4}));
  config.set("", "seeds", std::vector<int64_t>{4});
  Sample sample = read_sample("seeds = [4]\n");
  EXPECT_EQ(config_hash(config.schema()), config_hash(sample.schema()));
  EXPECT_THROW(config.value("", "seed"), Error);
  EXPECT_THROW(config.value("nothing", "seeds"), Error);
  EXPECT_THROW(config.set("training", "epochs", std::string("many")), Error);
}

// Two configurations of one description do not see each other.
TEST(Described, NothingIsLeftOfAnotherConfiguration) {
  const auto same = description();
  const DescribedConfig first(same), second(same);
  read(parsed("[training]\nepochs = 7\n"), first.schema());
  Sample defaults;
  EXPECT_EQ(to_toml(second.schema()), to_toml(defaults.schema()));
}

TEST(Described, TextThatIsNone) {
  EXPECT_THROW(Description::from_json("[{\"table\": 3}]"), Error);
  EXPECT_THROW(Description::from_json("no JSON"), Error);
}
