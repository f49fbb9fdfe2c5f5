#include "core/options.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <dissent/error.hpp>
#include <limits>

using namespace dissent;

namespace {

struct Sample {
  bool flag = true;
  int64_t count = 3;
  double rate = 0.1;
  std::string name = "none";
  std::optional<int64_t> threads;
  std::optional<double> limit = 0.5;
  std::vector<int64_t> seeds = {42};
  std::vector<double> steps;
  std::vector<std::string> scores = {"msp"};
};

TableSpec sample_spec() {
  return TableOf<Sample>("sample", "All member types")
      .option("flag", &Sample::flag, {.meaning = "a"})
      .option("count", &Sample::count, {.meaning = "b", .min = 1, .max = 64})
      .option("rate", &Sample::rate, {.meaning = "c", .min = 0})
      .option("name", &Sample::name, {.meaning = "d", .choices = {"none", "hard"}})
      .option("threads", &Sample::threads, {.meaning = "e", .min = 1})
      .option("limit", &Sample::limit, {.meaning = "f", .max = 1, .word = "off"})
      .option("seeds", &Sample::seeds, {.meaning = "g", .min = 0})
      .option("steps", &Sample::steps, {.meaning = "h"})
      .option("scores", &Sample::scores, {.meaning = "i", .choices = {"msp", "pds"}});
}

std::string problem(const std::string& key, const Value& value) {
  Sample sample;
  return sample_spec().find(key)->assign(&sample, value).value_or("fits");
}

}  // namespace

TEST(Options, TypesAndDefaultsAreThoseOfTheStruct) {
  const TableSpec spec = sample_spec();
  std::vector<std::string> found;
  for (const auto& option : spec.options) found.push_back(option.type + ": " + option.default_text);
  EXPECT_EQ(found, (std::vector<std::string>{"boolean: true", "integer: 3", "number: 0.1",
                                             "string: \"none\"", "integer or \"auto\": \"auto\"",
                                             "number or \"off\": 0.5", "list of integers: [42]",
                                             "list of numbers: []", "list of strings: [\"msp\"]"}));
  EXPECT_EQ(spec.find("flog"), nullptr);
}

TEST(Options, AssignPutsValuesIntoTheStructAndTextReadsThem) {
  const TableSpec spec = sample_spec();
  Sample sample;
  EXPECT_FALSE(spec.find("count")->assign(&sample, Value(int64_t{64})));
  EXPECT_FALSE(spec.find("rate")->assign(
      &sample, Value(int64_t{2})));  // an integer where a number is expected
  EXPECT_FALSE(spec.find("threads")->assign(&sample, Value(int64_t{8})));
  EXPECT_FALSE(spec.find("limit")->assign(&sample, Value(std::string("off"))));
  EXPECT_FALSE(spec.find("steps")->assign(&sample, Value(std::vector<int64_t>{1, 2})));
  EXPECT_FALSE(
      spec.find("scores")->assign(&sample, Value(std::vector<int64_t>{})));  // what [] reads as
  EXPECT_EQ(sample.count, 64);
  EXPECT_EQ(sample.rate, 2.0);
  EXPECT_EQ(sample.threads, 8);
  EXPECT_FALSE(sample.limit);
  EXPECT_EQ(sample.steps, (std::vector<double>{1, 2}));
  EXPECT_TRUE(sample.scores.empty());
  EXPECT_EQ(spec.find("limit")->text(&sample), "\"off\"");
  EXPECT_EQ(spec.find("steps")->text(&sample), "[1.0, 2.0]");
}

TEST(Options, RefusalsSayWhatWasExpectedAndLeaveTheStruct) {
  EXPECT_EQ(problem("flag", Value(int64_t{1})), "true or false");
  EXPECT_EQ(problem("count", Value(int64_t{65})), "an integer in 1 .. 64");
  EXPECT_EQ(problem("count", Value(2.0)), "an integer in 1 .. 64");
  EXPECT_EQ(problem("rate", Value(-0.5)), "a finite number >= 0");
  EXPECT_EQ(problem("name", Value(std::string("hrd"))), "one of none, hard");
  EXPECT_EQ(problem("threads", Value(int64_t{0})), "an integer >= 1 or \"auto\"");
  EXPECT_EQ(problem("threads", Value(std::string("off"))), "an integer >= 1 or \"auto\"");
  EXPECT_EQ(problem("limit", Value(std::string("auto"))), "a finite number <= 1 or \"off\"");
  EXPECT_EQ(problem("seeds", Value(std::vector<double>{1.5})), "a list of integers >= 0");
  EXPECT_EQ(problem("seeds", Value(std::vector<int64_t>{1, -1})), "a list of integers >= 0");
  EXPECT_EQ(problem("steps", Value(1.0)), "a list of numbers");
  EXPECT_EQ(problem("scores", Value(std::vector<std::string>{"mps"})),
            "a list of strings, each one of msp, pds");
  Sample sample;
  EXPECT_TRUE(sample_spec().find("seeds")->assign(&sample, Value(std::vector<int64_t>{7, -1})));
  EXPECT_EQ(sample.seeds, std::vector<int64_t>{42});
}

TEST(Options, NotANumberAndInfinityNeedANumberWithoutBounds) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_NE(problem("rate", Value(inf)), "fits");
  EXPECT_NE(problem("rate", Value(std::nan(""))), "fits");
  EXPECT_NE(problem("limit", Value(-inf)), "fits");
  EXPECT_EQ(problem("steps", Value(std::vector<double>{inf, std::nan("")})), "fits");
}

TEST(Options, BoundsNearTheLargestIntegersAreExact) {
  struct Big {
    int64_t value = 0;
  };
  const TableSpec spec = TableOf<Big>("big", "").option("value", &Big::value,
                                                        {.meaning = "", .max = 9007199254740992.0});
  Big big;
  EXPECT_FALSE(spec.find("value")->assign(&big, Value(int64_t{9007199254740992})));
  EXPECT_TRUE(spec.find("value")->assign(
      &big, Value(int64_t{9007199254740993})));  // equal to the bound once it is a double
}

TEST(Options, DefaultOutsideItsOwnRangeIsADefect) {
  const auto declare = [] {
    TableOf<Sample>("sample", "").option("count", &Sample::count, {.meaning = "", .min = 4});
  };
  try {
    declare();
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_STREQ(error.what(), "option count: expected a default that is an integer >= 4, found 3");
  }
}

TEST(Options, TextOfNumbersIsShortestAndStaysANumber) {
  EXPECT_EQ(toml_text(Value(0.1)), "0.1");
  EXPECT_EQ(toml_text(Value(1e-3)), "0.001");
  EXPECT_EQ(toml_text(Value(3.0)), "3.0");
  EXPECT_EQ(toml_text(Value(-0.0)), "-0.0");
  EXPECT_EQ(toml_text(Value(1e22)), "1e+22");
  EXPECT_EQ(toml_text(Value(5e-324)), "5e-324");
  EXPECT_EQ(toml_text(Value(std::nan(""))), "nan");
  EXPECT_EQ(toml_text(Value(-std::numeric_limits<double>::infinity())), "-inf");
  EXPECT_EQ(toml_text(Value(std::numeric_limits<int64_t>::min())), "-9223372036854775808");
}

TEST(Options, TextOfStringsIsEscaped) {
  EXPECT_EQ(toml_text(Value(std::string("a\"b\\c\n\t\r\x01\x7f é"))),
            R"("a\"b\\c\n\t\r\u0001\u007f é")");
  EXPECT_EQ(toml_text(Value(std::vector<std::string>{"a, b", ""})), R"(["a, b", ""])");
}

TEST(Options, NearestFindsTyposAndNothingForOtherWords) {
  const std::vector<std::string> keys = {"weight", "from_epoch", "sample_weight", "a2d"};
  EXPECT_EQ(nearest("weigth", keys), "weight");  // neighbours swapped
  EXPECT_EQ(nearest("Weight", keys), "weight");
  EXPECT_EQ(nearest("HEDA", {"head"}), "head");  // swapped, whatever the case
  EXPECT_EQ(nearest("a2dd", keys), "a2d");
  EXPECT_EQ(nearest("fromepoch", keys), "from_epoch");
  EXPECT_EQ(nearest("momentum", keys), std::nullopt);
  EXPECT_EQ(nearest("x", {"y"}), std::nullopt);      // one letter is never near another
  EXPECT_EQ(nearest("bat", {"cat", "rat"}), "cat");  // the first of equals
  EXPECT_EQ(nearest("", keys), std::nullopt);
}
