// Properties that every post-processor of the table has to have, and that its line has to tell
// truly.
#include "scores/postprocessors.hpp"

#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/neighbours.hpp>
#include <dissent/scores/registry.hpp>
#include <dissent/scores/subspace.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "core/parallel.hpp"
#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

at::Tensor score_of(const PostprocessorInfo& info, const FitData& data, const FeatureSet& test,
                    std::any options = {}) {
  return info.score(fit(info, data, options.has_value() ? options : small_options(info)),
                    test.features, test.logits);
}

using dissent::testing::largest;

at::Tensor* tensor_of(FitData& data, FitField field) {
  switch (field) {
    case FitField::kTrainFeatures: return &data.train.features;
    case FitField::kTrainLogits: return &data.train.logits;
    case FitField::kTrainLabels: return &data.train.labels;
    case FitField::kValidationFeatures: return &data.validation.features;
    case FitField::kValidationLogits: return &data.validation.logits;
    case FitField::kValidationLabels: return &data.validation.labels;
    case FitField::kHead: return &data.head.weight;
  }
  return nullptr;
}

constexpr FitField kAllFields[] = {FitField::kTrainFeatures,
                                   FitField::kTrainLogits,
                                   FitField::kTrainLabels,
                                   FitField::kValidationFeatures,
                                   FitField::kValidationLogits,
                                   FitField::kValidationLabels,
                                   FitField::kHead};

FitData only(const FitData& full, const std::vector<FitField>& fields) {
  auto from = full;
  FitData data;
  for (const auto field : fields) *tensor_of(data, field) = *tensor_of(from, field);
  if (data.head.weight.defined()) data.head.bias = full.head.bias;
  return data;
}

}  // namespace

TEST(PostprocessorTable, NamesAreUniqueAndFoundAndLinesAreFull) {
  std::set<std::string> names;
  for (const auto& info : postprocessor_table()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(&find_postprocessor(info.name), &info);
    EXPECT_EQ(info.options.name, "postprocessor." + info.name);
    EXPECT_FALSE(info.summary.empty() || info.formula.empty() || info.citation.empty())
        << info.name;
    EXPECT_TRUE(info.scores_features || info.scores_logits) << info.name;
  }
  EXPECT_EQ(names.size(), 26u);
  expect_error(ErrorKind::kUsage, "post-processor: expected one of msp, maxlogit, ",
               [] { find_postprocessor("vin"); });
}

TEST(PostprocessorTable, ScoresAreOneFiniteNumberForEachSample) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    const auto score = score_of(info, made.data(), made.test);
    EXPECT_EQ(score.sizes(), at::IntArrayRef({MadeFeatures::kTest})) << info.name;
    EXPECT_EQ(score.scalar_type(), at::kDouble) << info.name;
    EXPECT_TRUE(score.isfinite().all().item<bool>()) << info.name;
    EXPECT_GT(score.std().item<double>(), 0) << info.name;
  }
}

TEST(PostprocessorTable, LargerIsMoreInDistribution) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    const auto state = fit(info, made.data(), small_options(info));
    const auto id = info.score(state, made.test.features, made.test.logits),
               ood = info.score(state, made.ood.features, made.ood.logits);
    EXPECT_GT(metrics::auroc(metrics::Ranking::from_scores(id, ood).finish()), 0.6)
        << info.name;  // of the wrong sign: below 0.4
  }
}

TEST(PostprocessorTable, ASampleScoresTheSameAlone) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    const auto state = fit(info, made.data(), small_options(info));
    const auto whole = info.score(state, made.test.features, made.test.logits);
    for (int64_t n = 0; n < MadeFeatures::kTest; n += 7) {
      const auto alone =
          info.score(state, made.test.features.narrow(0, n, 1), made.test.logits.narrow(0, n, 1));
      EXPECT_NEAR(alone.item<double>(), whole[n].item<double>(),
                  1e-11 * std::max(1.0, std::abs(whole[n].item<double>())))
          << info.name;
    }
    EXPECT_EQ(
        info.score(state, made.test.features.narrow(0, 0, 0), made.test.logits.narrow(0, 0, 0))
            .numel(),
        0)
        << info.name;
  }
}

TEST(PostprocessorTable, InputsAreNotChanged) {
  const MadeFeatures made, same;
  for (const auto& info : postprocessor_table()) {
    score_of(info, made.data(), made.test);
    auto before = same.data(), after = made.data();
    for (const auto field : kAllFields)
      EXPECT_TRUE(at::equal(*tensor_of(before, field), *tensor_of(after, field)))
          << info.name << fit_field_name(field);
    EXPECT_TRUE(at::equal(made.test.features, same.test.features) &&
                at::equal(made.test.logits, same.test.logits))
        << info.name;
  }
}

TEST(PostprocessorTable, WhatIsNeededIsAskedForByNameAndNothingElseIsRead) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    const auto expected = score_of(info, made.data(), made.test);
    const auto enough = only(made.data(), info.needs);
    const auto test = FeatureSet{info.scores_features ? made.test.features : at::Tensor(),
                                 info.scores_logits ? made.test.logits : at::Tensor(),
                                 {}};
    EXPECT_TRUE(at::equal(score_of(info, enough, test), expected)) << info.name;
    for (const auto missing : info.needs) {
      auto rest = info.needs;
      std::erase(rest, missing);
      const auto less = only(made.data(), rest);
      const bool made_of_features = (missing == FitField::kTrainLogits &&
                                     less.train.features.defined() && less.head.weight.defined());
      if (made_of_features) continue;
      expect_error(ErrorKind::kUsage,
                   info.name + ": " + fit_field_name(missing) + ": expected it, found nothing",
                   [&] { score_of(info, less, test); });
    }
  }
}

TEST(PostprocessorTable, LogitsThatAreLeftOutAreThoseOfTheHead) {
  const MadeFeatures made;
  auto data = made.data();
  data.train.logits = data.validation.logits = at::Tensor();
  for (const auto& info : postprocessor_table()) {
    const auto expected = score_of(info, made.data(), made.test);
    EXPECT_LT(largest((score_of(info, data, made.test) - expected) / expected.abs().clamp_min(1)),
              1e-12)
        << info.name;
  }
}

TEST(PostprocessorTable, SinglePrecisionInputsAreComputedWithInDouble) {
  const MadeFeatures made;
  const auto single = MadeFeatures::to(made.data(), at::kFloat);
  const auto test = MadeFeatures::to(made.test, at::kFloat),
             wide = MadeFeatures::to(test, at::kDouble);
  for (const auto& info : postprocessor_table()) {
    // The same numbers as f32 and as f64: the same scores, bit by bit.
    const auto of_single = score_of(info, single, test);
    EXPECT_TRUE(at::equal(of_single, score_of(info, MadeFeatures::to(single, at::kDouble), wide)))
        << info.name;
    // And near those of the unrounded numbers: 1e4 roundings of 2^-24, for covariances and
    // thresholds. cfood's are steps of a grid.
    if (info.name == "cfood") continue;
    const auto exact = score_of(info, made.data(), made.test);
    EXPECT_LT(largest((of_single - exact) / exact.abs().clamp_min(1)), 6e-4) << info.name;
  }
}

TEST(PostprocessorTable, BitsDoNotDependOnTheNumberOfThreads) {
  MadeFeatures made;
  made.test.features = made.test.features.repeat({60, 1});  // three blocks
  made.test.logits = made.test.logits.repeat({60, 1});
  for (const auto& info : postprocessor_table()) {
    set_threads(1);
    const auto one = score_of(info, made.data(), made.test);
    set_threads(3);
    EXPECT_TRUE(at::equal(score_of(info, made.data(), made.test), one)) << info.name;
    set_threads(1);
  }
}

TEST(PostprocessorTable, BlocksOfAnySizeGiveTheSameScores) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    if (!info.options.find("block_rows")) continue;
    EXPECT_EQ(info.options.find("block_rows")->info.scope, Scope::kExecution) << info.name;
    const auto whole = score_of(info, made.data(), made.test);
    for (const int64_t rows : {1, 7, 40, 150}) {
      auto options = small_options(info);
      set_option(info, options, "block_rows", rows);
      EXPECT_LT(largest(score_of(info, made.data(), made.test, options) - whole), 1e-11)
          << info.name << " " << rows;
    }
    auto options = small_options(info);
    expect_error(ErrorKind::kUsage, info.name + ": block_rows: expected an integer >= 1",
                 [&] { set_option(info, options, "block_rows", int64_t{0}); });
  }
}

TEST(PostprocessorTable, OrderOfTheTrainingSamplesDoesNotMatter) {
  const MadeFeatures made;
  auto data = made.data();
  const auto order = at::arange(MadeFeatures::kTrain - 1, -1, -1, at::kLong);
  data.train = {data.train.features.index_select(0, order),
                data.train.logits.index_select(0, order), data.train.labels.index_select(0, order)};
  for (const auto& info : postprocessor_table()) {
    auto options = small_options(info);
    if (info.options.find("alpha") && (info.name == "nnguide" || info.name == "cfood"))
      set_option(info, options, "alpha", 1.0);  // all of them
    const auto one = score_of(info, made.data(), made.test, options);
    EXPECT_LT(largest((score_of(info, data, made.test, options) - one) / one.abs().clamp_min(1)),
              1e-11)
        << info.name;
  }
}

TEST(PostprocessorTable, AZeroFeatureScoresAFiniteNumber) {
  const MadeFeatures made;
  const auto zero = at::zeros({1, MadeFeatures::kDimension}, at::kDouble),
             logits = made.head.bias.unsqueeze(0);
  for (const auto& info : postprocessor_table()) {
    auto data = made.data();
    data.train.features = at::cat({zero, data.train.features.slice(0, 1)});  // and in the bank
    EXPECT_TRUE(std::isfinite(score_of(info, data, {zero, logits, {}}).item<double>()))
        << info.name;
  }
}

// Sets that leave nothing to fit: each fit ends with scores that are numbers, or says as an error
// of the configuration or the data what it needs; never NaN, and no other error.
TEST(PostprocessorTable, OddSetsGiveScoresOrAClearError) {
  const MadeFeatures made;
  const auto allowed = {"k", "dim", "alpha"};
  const auto all_right = [](FeatureSet set) {
    set.logits = at::one_hot(set.labels, MadeFeatures::kClasses).to(at::kDouble) * 60;
    return set;
  };
  const auto one_class = [](FeatureSet set) {
    set.labels = at::zeros_like(set.labels);
    return set;
  };
  const auto one_row = [](const FeatureSet& set) {
    return FeatureSet{set.features.narrow(0, 0, 1), set.logits.narrow(0, 0, 1),
                      set.labels.narrow(0, 0, 1)};
  };
  const auto constant = [](FeatureSet set) {
    set.features = at::full_like(set.features, 0.5);
    set.logits = at::full_like(set.logits, 2);
    return set;
  };
  const auto all_wrong = [&](FeatureSet set) {
    set = all_right(set);
    set.labels = (set.labels + 1).remainder(MadeFeatures::kClasses);
    return set;
  };
  const std::vector<std::pair<const char*, std::function<FeatureSet(FeatureSet)>>> cases{
      {"all right", all_right},
      {"one class", one_class},
      {"one row", one_row},
      {"constant", constant},
      {"all wrong", all_wrong}};
  for (const auto& info : postprocessor_table())
    for (const auto& [name, odd] : cases)
      for (const bool train : {false, true}) {
        auto data = made.data();
        (train ? data.train : data.validation) = odd(train ? data.train : data.validation);
        const auto place =
            fmt::format("{}, {} {}", info.name, name, train ? "train" : "validation");
        for (const char* convention : {"optimum", "sdde", "openood"}) {
          auto options = small_options(info);
          if (info.name == "temp_scaling")
            set_option(info, options, "convention", std::string(convention));
          try {
            const auto score = score_of(info, data, made.test, options);
            EXPECT_EQ(score.isnan().sum().item<int64_t>(), 0) << place << " " << convention;
          } catch (const Error& error) {
            const std::string said = error.what();
            EXPECT_TRUE(error.kind() == ErrorKind::kUsage || error.kind() == ErrorKind::kData)
                << place << ": " << said;
            // More neighbours, dimensions or rows than there are: options of these scores.
            EXPECT_TRUE(std::any_of(allowed.begin(), allowed.end(),
                                    [&](const char* option) {
                                      return said.starts_with(
                                          fmt::format("{}: {}: ", info.name, option));
                                    }))
                << place << ": " << said;
          } catch (const std::exception& error) {
            ADD_FAILURE() << place << ": " << error.what();
          }
        }
      }
}

TEST(PostprocessorTable, ANumberThatIsNotFiniteIsNeitherFittedNorScored) {
  const MadeFeatures made;
  const double nan = std::nan("");
  auto features = made.test.features.clone(), bad = made.train.features.clone(),
       bad_validation = made.validation.features.clone();
  features[3][2] = nan;
  bad[5][1] = std::numeric_limits<double>::infinity();
  bad_validation[0][0] = nan;
  for (const auto& info : postprocessor_table()) {
    if (info.scores_features) {
      const auto score = score_of(info, made.data(), {features, made.test.logits, {}});
      EXPECT_TRUE(std::isnan(score[3].item<double>())) << info.name;
      EXPECT_EQ(score.isnan().sum().item<int64_t>(), 1) << info.name;
    }
    auto data = made.data();
    data.train.features = bad;
    data.validation.features = bad_validation;
    const bool read = std::ranges::any_of(info.needs, [](FitField f) {
      return f == FitField::kTrainFeatures || f == FitField::kValidationFeatures;
    });
    if (read)
      expect_error(ErrorKind::kData, "features: expected finite values, found 1 that are not",
                   [&] { fit(info, data, small_options(info)); });
  }
}

TEST(PostprocessorTable, WrongShapesAreErrors) {
  const MadeFeatures made;
  for (const auto& info : postprocessor_table()) {
    const auto state = fit(info, made.data(), small_options(info));
    if (info.scores_features && info.name != "gradnorm")
      expect_error(
          ErrorKind::kUsage, "features: expected [N, 20] of f32 or f64, found [40, 19] Double cpu",
          [&] { info.score(state, made.test.features.narrow(1, 0, 19), made.test.logits); });
    if (info.scores_features && info.scores_logits)
      expect_error(ErrorKind::kUsage, "logits: expected as many rows as the features", [&] {
        info.score(state, made.test.features, made.test.logits.narrow(0, 0, 39));
      });
    if (!state.empty())
      expect_error(ErrorKind::kUsage, info.name.substr(0, 3),
                   [&] { info.score({}, made.test.features, made.test.logits); });
    if (std::ranges::find(info.needs, FitField::kTrainLabels) != info.needs.end()) {
      auto data = made.data();
      data.train.labels = data.train.labels + 1;
      expect_error(ErrorKind::kUsage,
                   info.name + ": training labels: expected class numbers 0 .. 4, found 1 .. 5",
                   [&] { fit(info, data, small_options(info)); });
    }
  }
}

TEST(PostprocessorOptions, DefaultsAndSearchListsFitTheirSpecs) {
  for (const auto& info : postprocessor_table()) {
    auto defaults = info.default_options;
    for (const auto& option : info.options.options)
      EXPECT_EQ(option.text(info.struct_of(defaults)), option.default_text)
          << info.name << "." << option.key;
    size_t settings = 1;
    for (const auto& list : info.search) {
      ASSERT_TRUE(info.options.find(list.key)) << info.name << "." << list.key;
      settings *= list.values.size();
    }
    EXPECT_EQ(search_settings(info).size(), settings) << info.name;
    for (const auto& setting : search_settings(info)) {
      std::any options;
      for (const auto& [key, value] : setting)
        EXPECT_NO_THROW(set_option(info, options, key, value)) << info.name << "." << key;
    }
  }
  EXPECT_EQ(search_settings(find_postprocessor("gen")).size(), 42u);
  expect_error(ErrorKind::kUsage,
               "knn: options: expected options of this post-processor, found those of another",
               [] { fit(find_postprocessor("knn"), {}, VimOptions{}); });
  std::any options;
  expect_error(ErrorKind::kUsage, "knn: expected options k, block_rows",
               [&] { set_option(find_postprocessor("knn"), options, "block_row", int64_t{3}); });
}

TEST(ScoresPage, HasEveryScoreAndKey) {
  const auto page = scores_page();
  for (const auto& score : score_table())
    EXPECT_NE(page.find("| `" + score.name + "` |"), std::string::npos) << score.name;
  for (const auto& info : postprocessor_table()) {
    EXPECT_NE(page.find("\n## `" + info.name + "`\n"), std::string::npos) << info.name;
    for (const auto& option : info.options.options)
      EXPECT_NE(page.find("| `" + option.key + "` |"), std::string::npos) << option.key;
  }
}
