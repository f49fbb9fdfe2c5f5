// Scores, choices, caches and fitted states of whole evaluations on small sets.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/ensemble_scores.hpp>
#include <dissent/scores/shaping.hpp>

#include "core/parallel.hpp"
#include "evaluate/selection/greedy.hpp"
#include "expect_error.hpp"
#include "made_ensemble.hpp"
#include "self.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;
constexpr int64_t kDim = 6, kClasses = 5;

struct Evaluate : ::testing::Test {
  TempFolder folder{*self};
  Evaluate() {
    write_sed_file(*self, folder / "id.hdf5", 150, kDim, kClasses, 1);
    write_sed_file(*self, folder / "val.hdf5", 120, kDim, kClasses, 2);
    write_sed_file(*self, folder / "fit.hdf5", 130, kDim, kClasses, 3);
    write_sed_file(*self, folder / "ood.hdf5", 90, kDim, kClasses, 4, 1.0);
    write_sed_file(*self, folder / "valood.hdf5", 80, kDim, kClasses, 5, 1.0);
  }
  std::string text(const std::string& more, const std::string& tables = "") {
    return fmt::format(
        "[evaluate]\nruns = [\"x\"]\nblock_rows = 16\nid = "
        "\"{0}/id.hdf5\"\n{1}\n[[evaluate.sets]]\nname = \"ood\"\npaths = [\"{0}/ood.hdf5\"]\n{2}",
        folder.path(), more, tables);
  }
  std::string validation() { return fmt::format("validation = \"{}/val.hdf5\"\n", folder.path()); }
  Evaluation run(const LoadedEnsemble& ensemble, const std::string& config_text) {
    const auto config = evaluate_config(config_text);
    for (const auto& conflict : conflicts(config))
      ADD_FAILURE() << conflict.key << " " << conflict.message;
    return evaluate(*self, {ensemble}, config, false, [this](const Evaluation&) { ++recorded; });
  }
  int recorded = 0;
};

std::vector<double> values(const std::vector<ResultRow>& rows) {
  std::vector<double> all;
  for (const auto& row : rows) all.push_back(row.value);
  return all;
}

// A member that counts how often it is asked.
class Counting : public MemberNetworks {
 public:
  explicit Counting(std::shared_ptr<const MemberNetworks> in) : in_(std::move(in)) {}
  int64_t members() const override { return in_->members(); }
  int64_t classes() const override { return in_->classes(); }
  int64_t feature_dim() const override { return in_->feature_dim(); }
  bool shared_features() const override { return in_->shared_features(); }
  bool features_are_inputs() const override { return in_->features_are_inputs(); }
  void check_input(const EvaluationSet& set, const std::string& network) const override {
    in_->check_input(set, network);
  }
  MemberOutputs forward(const at::Tensor& x, std::span<const int64_t> which,
                        bool features) const override {
    rows += x.size(0);
    return in_->forward(x, which, features);
  }
  scores::LinearHead head(int64_t member) const override { return in_->head(member); }
  std::unique_ptr<MemberNetworks> soup(std::span<const int64_t> of) const override {
    DISSENT_CHECK(has_soup, kUsage, "its heads share a trunk");
    ++soups;
    return in_->soup(of);
  }
  bool has_soup = false;
  mutable int soups = 0;
  std::string weights_hash() const override { return in_->weights_hash(); }
  mutable int64_t rows = 0;

 private:
  std::shared_ptr<const MemberNetworks> in_;
};

}  // namespace

TEST_F(Evaluate, FeaturesAndHeadOfEveryModelGiveItsLogits) {
  for (const char* model : {"block_head", "mlp", "linear"}) {
    const auto ensemble = made_ensemble(folder.path(), model, 2, kDim, kClasses);
    auto x = at::empty({300, kDim}, at::kFloat);
    fill_uniform(x, -1, 1, Random(1, Purpose::kNoise));
    const auto out = ensemble.networks->forward(x, all_of(2), true);
    for (int64_t m = 0; m < 2; ++m) {
      const auto head = ensemble.networks->head(m);
      const auto features = out.features[ensemble.networks->shared_features() ? 0 : m];
      const auto error = (scores::head_logits(features, head.weight, head.bias) - out.logits[m])
                             .abs()
                             .max()
                             .item<double>();
      EXPECT_LT(error, 64 * std::numeric_limits<float>::epsilon() *
                           out.logits[m].abs().max().item<double>())
          << model;
    }
  }
}

TEST_F(Evaluate, EveryScoreGivesRowsAndTheCacheChangesNoBit) {
  std::string all = "scores = [";
  for (const auto& score : scores::score_table()) all += "\"" + score.name + "\", ";
  for (const auto& score : scores::postprocessor_table())
    if (score.name != "msp" && score.name != "energy") all += "\"" + score.name + "\", ";
  const auto more =
      all + "]\nfit = \"" + folder / "fit.hdf5" + "\"\n" + validation() +
      "shaping = [\"react\", \"ash_b\", \"ash_p\", \"ash_s\", \"scale\"]\nscore_of = [\"output\", "
      "\"mean_probabilities\", \"mean_score\"]\n"
      "predictors = [\"ensemble\", \"soup\", \"best\", \"mean\", \"members\", \"greedy\", "
      "\"greedy_soup\"]\nsub_ensembles = 2\ntemperature = \"optimum\"\n"
      "vector_scaling = true\nconformal = \"aps\"\nmetrics = [\"accuracy\", \"nll\", \"brier\", "
      "\"ece\", \"ece_max\", \"ece_equal_mass\", \"aurc\", \"auroc\", \"fpr95\", "
      "\"aupr_in\"]\n";
  const std::string tables =
      "[score.vim]\ndim = 2\n[score.residual]\ndim = 2\n[score.knn]\nk = 5\n[score.nnguide]\nk = "
      "5\n";
  for (const char* model : {"mlp", "linear"}) {
    const auto ensemble = made_ensemble(folder.path(), model, 3, kDim, kClasses);
    const auto plain = run(ensemble, text(more, tables));
    const auto cached = run(ensemble, text(more + "logits_cache = \"f32\"\n", tables)),
               again = run(ensemble, text(more + "logits_cache = \"f32\"\n", tables));
    EXPECT_EQ(values(plain.rows), values(cached.rows)) << model;
    EXPECT_EQ(cached.rows, again.rows) << model;
    for (const auto& score : scores::postprocessor_table())
      value_of(plain.rows, "ensemble", "ood", score.name, "auroc");
    for (const auto& score : scores::score_table())
      value_of(plain.rows, "ensemble", "ood", "react+" + score.name, "auroc");
    for (const auto& row : plain.rows)
      EXPECT_TRUE(std::isfinite(row.value))
          << row.predictor << " " << row.score << " " << row.metric;
  }
}

TEST_F(Evaluate, AScoreOfTheEnsembleIsThatOfTheLibrary) {
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const auto result = run(ensemble, text("scores = [\"pds\"]\n"));
  const auto of = [&](const std::string& name) {
    const auto set = open_cache_set(folder / name);
    return scores::pds(
               ensemble.networks->forward(set->inputs(0, set->rows()), all_of(3), false).logits,
               scores::InputKind::kLogits)
        .to(at::kDouble);
  };
  const auto curve = metrics::Ranking::from_scores(of("ood.hdf5"), of("id.hdf5")).finish();
  EXPECT_NEAR(value_of(result.rows, "ensemble", "ood", "pds", "auroc"), metrics::auroc(curve),
              2.0 / (150 * 90));  // two pairs: the last bits of f32 may order them otherwise
}

TEST_F(Evaluate, AFullCacheNeedsNoForwardAndATornOneIsMadeAgain) {
  auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const auto counting = std::make_shared<Counting>(ensemble.networks);
  ensemble.networks = counting;
  const auto config = text("predictors = [\"ensemble\", \"mean\"]\nlogits_cache = \"f16\"\n");
  const auto first = run(ensemble, config);
  EXPECT_EQ(counting->rows, 240);
  EXPECT_EQ(run(ensemble, config).rows, first.rows);
  EXPECT_EQ(run(ensemble, config + "[score.gen]\nm = 3\n").rows, first.rows);
  EXPECT_EQ(counting->rows, 240);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "logits"))
    if (entry.path().filename() == "shard-00000.h5")
      std::filesystem::resize_file(entry.path(), 700);
  EXPECT_EQ(run(ensemble, config).rows, first.rows);
  EXPECT_EQ(counting->rows, 240 + 128 + 90);
  ensemble.identity = "another";  // weights or configuration: never used
  run(ensemble, config);
  EXPECT_EQ(counting->rows, 2 * 240 + 128 + 90);
}

// A cache without the soup serves an evaluation with it, one with it serves another without: the
// figures are those without any cache, and no soup is made that nobody asked for.
TEST_F(Evaluate, TheCacheHoldsASoupOnlyWhereItIsAskedFor) {
  const std::string alone = "predictors = [\"ensemble\", \"mean\"]\n",
                    with = "predictors = [\"ensemble\", \"soup\"]\n",
                    chosen = validation() + "predictors = [\"ensemble\", \"greedy_soup\"]\n",
                    both = validation() + "predictors = [\"soup\", \"greedy_soup\"]\n";
  for (const char* dtype : {"f32", "f16"})
    for (const auto& order :
         {std::vector{alone, with, chosen, both, alone}, std::vector{both, chosen, alone, with}}) {
      auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
      const auto counting = std::make_shared<Counting>(ensemble.networks);
      counting->has_soup = true;
      ensemble.networks = counting;
      const auto cached = fmt::format("logits_cache = \"{}\"\n", dtype);
      for (const auto& predictors : order) {
        counting->soups = 0;
        const auto found = run(ensemble, text(predictors + cached));
        EXPECT_TRUE(predictors != alone || counting->soups == 0) << predictors;
        // The same with a cache that is made for it alone.
        auto fresh = ensemble;
        fresh.identity += predictors;
        EXPECT_EQ(values(run(fresh, text(predictors + cached)).rows), values(found.rows))
            << dtype << " " << predictors;
      }
      std::filesystem::remove_all(folder / "logits");
    }
}

TEST_F(Evaluate, ASoupThatIsNoNetworkIsRefusedWithTheReason) {
  auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  ensemble.networks = std::make_shared<Counting>(ensemble.networks);
  const auto message = error_of(ErrorKind::kUsage, [&] { run(ensemble, text("")); });
  EXPECT_CONTAINS(message, "its heads share a trunk");
}

TEST_F(Evaluate, ChoicesOnTestSetsAreRefusedOrSaidInEveryRow) {
  const auto keys_of = [](const std::string& config_text) {
    std::string keys;
    for (const auto& conflict : conflicts(evaluate_config(config_text))) keys += conflict.key + " ";
    return keys;
  };
  for (const char* predictor : {"best", "greedy", "greedy_soup"})
    EXPECT_EQ(keys_of(text(fmt::format("predictors = [\"{}\"]\n", predictor))),
              "evaluate.predictors ")
        << predictor;
  EXPECT_EQ(keys_of(text("temperature = \"optimum\"\n")), "evaluate.temperature ");
  EXPECT_EQ(keys_of(text("scores = [\"knn\"]\n")), "evaluate.scores ");
  EXPECT_EQ(keys_of(text(validation() + "search = true\n")), "evaluate.search ");
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const auto leak =
      text(fmt::format("validation = \"{}/ood.hdf5\"\npredictors = [\"best\"]\n", folder.path()));
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { run(ensemble, leak); }),
                  "choices on a test set are refused");
  EXPECT_EQ(recorded, 0);
  for (const auto& row :
       run(ensemble, text("predictors = [\"ensemble\", \"best\"]\nallow_test_selection = true\n"))
           .rows)
    EXPECT_EQ(row.fidelity, row.predictor == "best" ? "chosen on the test set" : "");
  const auto honest = run(ensemble, text(validation() + "predictors = [\"best\"]\n"));
  EXPECT_EQ(recorded, 1);
  EXPECT_CONTAINS(honest.choices, "best = ");
  for (const auto& row : honest.rows) EXPECT_EQ(row.fidelity, "");
}

TEST_F(Evaluate, TheSearchTakesTheOptionsOfTheLargestAurocOnValidation) {
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const std::string outside = fmt::format(
      "[[evaluate.sets]]\nname = \"v\"\nrole = \"validation_ood\"\npaths = [\"{}/valood.hdf5\"]\n",
      folder.path());
  const auto more = validation() + "scores = [\"gen\"]\npredictors = [\"ensemble\"]\n";
  const auto found = run(ensemble, text(more + "search = true\n", outside));
  double most = -1;
  for (const double gamma : {0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0}) {
    // C is below every m of the list: all settings of m are equal, and the first is kept.
    auto swapped =
        evaluate_config(text(more, fmt::format("[score.gen]\ngamma = {}\nm = 10\n", gamma)));
    swapped.evaluate.id = folder / "val.hdf5";
    swapped.evaluate.validation.clear();
    swapped.sets[0].paths = {folder / "valood.hdf5"};
    const auto rows = evaluate(*self, {ensemble}, swapped, false, [](const Evaluation&) {}).rows;
    const double auroc = value_of(rows, "ensemble", "ood", "gen", "auroc");
    most = std::max(most, auroc);
  }
  EXPECT_CONTAINS(found.choices, fmt::format("auroc = {}", toml_text(most)));
}

TEST_F(Evaluate, GreedySelectionIsNeverWorseThanTheBestMemberOnValidation) {
  const auto ensemble = made_ensemble(folder.path(), "mlp", 6, kDim, kClasses);
  const auto config = evaluate_config(text(""));
  const auto set = open_cache_set(folder / "val.hdf5");
  const auto right = member_counts(*self, ensemble, *set, config);
  const auto x = set->inputs(0, set->rows()), labels = set->labels(0, set->rows());
  const auto logits = ensemble.networks->forward(x, all_of(6), false).logits;
  const auto count = [&](const std::vector<int64_t>& of) {
    return logits.index_select(0, at::tensor(of)).sum(0).argmax(1).eq(labels).sum().item<int64_t>();
  };
  for (int64_t m = 0; m < 6; ++m) EXPECT_EQ(right[m], count({m}));
  const int64_t most = *std::max_element(right.begin(), right.end());
  const auto chosen = greedy_members(*self, ensemble, *set, config, right);
  EXPECT_GE(count(chosen), most);
  for (int64_t m = 0; m < 6; ++m) {
    auto with = chosen;
    with.push_back(m);
    if (std::find(chosen.begin(), chosen.end(), m) != chosen.end()) continue;
    EXPECT_LE(count(with), count(chosen));
  }
  const auto soup = ensemble.networks->soup(greedy_soup(*self, ensemble, *set, config, right));
  EXPECT_GE(soup->forward(x, all_of(1), false).logits[0].argmax(1).eq(labels).sum().item<int64_t>(),
            most);
}

TEST_F(Evaluate, ThePooledSetIsOneSet) {
  const auto more = "predictors = [\"ensemble\"]\nscores = [\"msp\"]\n";
  const std::string pooled = fmt::format(
      "[[evaluate.sets]]\nname = \"pooled\"\nshift = \"covariate\"\npool = true\npaths = "
      "[\"{0}/val.hdf5\", \"{0}/fit.hdf5\"]\n",
      folder.path());
  const std::string apart = fmt::format(
      "[[evaluate.sets]]\nname = \"apart\"\nshift = \"covariate\"\npaths = [\"{0}/val.hdf5\", "
      "\"{0}/fit.hdf5\"]\n",
      folder.path());
  const std::string each = fmt::format(
      "[[evaluate.sets]]\nname = \"val\"\nshift = \"covariate\"\npaths = "
      "[\"{0}/val.hdf5\"]\n[[evaluate.sets]]\nname = \"fit\"\nshift = \"covariate\"\npaths = "
      "[\"{0}/fit.hdf5\"]\n",
      folder.path());
  const auto rows =
      run(made_ensemble(folder.path(), "mlp", 3, kDim, kClasses), text(more, pooled + apart + each))
          .rows;
  const auto accuracy = [&](const char* set) {
    return value_of(rows, "ensemble", set, "", "accuracy");
  };
  EXPECT_DOUBLE_EQ(accuracy("pooled"), (accuracy("val") * 120 + accuracy("fit") * 130) / 250);
  EXPECT_DOUBLE_EQ(accuracy("apart"), (accuracy("val") + accuracy("fit")) / 2);
}

// A set of role calibration gives what the same rows give as the validation set; nothing else of
// the evaluation reads it.
TEST_F(Evaluate, CalibrationOfASetIsAnotherSet) {
  const std::string more =
      "predictors = [\"ensemble\"]\nscores = [\"msp\"]\nmetrics = [\"accuracy\", \"nll\"]\n"
      "temperature = \"optimum\"\n";
  const auto tested = [&](const std::string& calibration) {
    return fmt::format(
        "[[evaluate.sets]]\nname = \"shifted\"\nshift = \"covariate\"\npaths = "
        "[\"{}/valood.hdf5\"]\n{}",
        folder.path(), calibration);
  };
  const auto role = fmt::format(
      "[[evaluate.sets]]\nname = \"other\"\nrole = \"calibration\"\npaths = "
      "[\"{0}/fit.hdf5\", \"{0}/val.hdf5\"]\n",
      folder.path());
  const auto named = fmt::format("calibration = \"other\"\n{}", role);
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const auto nll = [&](const std::string& of, const std::string& tables) {
    std::vector<double> found;
    for (const auto& row : run(ensemble, text(more + of, tables)).rows)
      if (row.dataset == "shifted" && row.metric == "nll") found.push_back(row.value);
    EXPECT_EQ(found.size(), 2);  // before and after the temperature
    return found;
  };
  const auto own = nll(validation(), tested(""));
  const auto by_role = nll(validation(), tested(named));
  EXPECT_EQ(own[0], by_role[0]);
  EXPECT_NE(own[1], by_role[1]);
  // The files of the role are one set: those of the key `validation` are too, as a set of its role.
  auto as_validation = role;
  as_validation.replace(as_validation.find("\"calibration\""), 13, "\"validation\"");
  EXPECT_EQ(nll("", tested("") + as_validation), by_role);
}

TEST(EvaluateKeys, OfSetsThatWouldNotReadThemAreRefused) {
  const auto keys = [](const std::string& set) {
    std::string all;
    for (const auto& conflict : conflicts(evaluate_config(
             "[evaluate]\nruns = [\"r\"]\nid = \"i\"\n[[evaluate.sets]]\nname = \"s\"\n" + set)))
      all += conflict.key + " ";
    return all;
  };
  EXPECT_EQ(keys("paths = [\"x\"]\ncount = 15\nlabel = 0\n"), "");
  EXPECT_EQ(keys("dataset = \"mnist\"\ncount = 15\n"), "evaluate.sets[0].count ");
  EXPECT_EQ(keys("paths = [\"x\"]\nrole = \"validation\"\nlabel = 0\n"), "evaluate.sets[0].label ");
  // Rows of two sets of one name would be ambiguous, unless their split or shift is another.
  const std::string again = "paths = [\"x\"]\n[[evaluate.sets]]\nname = \"s\"\npaths = [\"y\"]\n";
  EXPECT_EQ(keys(again), "evaluate.sets[1].name ");
  EXPECT_EQ(keys(again + "shift = \"covariate\"\n"), "");
}

TEST_F(Evaluate, CalibrationSetsThatNothingReadsOrThatAreTestedAreRefused) {
  const std::string more = "temperature = \"optimum\"\n" + validation();
  const auto set = [&](const std::string& name, const std::string& file, const std::string& rest) {
    return fmt::format("[[evaluate.sets]]\nname = \"{}\"\npaths = [\"{}/{}.hdf5\"]\n{}", name,
                       folder.path(), file, rest);
  };
  const auto role = set("other", "fit", "role = \"calibration\"\n");
  const auto keys = [&](const std::string& config) {
    std::string all;
    for (const auto& conflict : conflicts(evaluate_config(config))) all += conflict.key + " ";
    return all;
  };
  const auto reads = set("x", "valood", "shift = \"covariate\"\ncalibration = \"other\"\n");
  EXPECT_EQ(keys(text(more, reads + role)), "");
  EXPECT_EQ(keys(text(more, role)), "evaluate.sets[1].role ");
  EXPECT_EQ(keys(text(more, reads + role + role)), "evaluate.sets[2].name evaluate.sets[3].name ");
  EXPECT_EQ(keys(text(validation(), reads + role)), "evaluate.sets[2].role ");
  EXPECT_EQ(keys(text(more, reads + role + "calibration = \"other\"\n")),
            "evaluate.sets[2].calibration ");
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  expect_error(ErrorKind::kData, "\"othr\": expected the name of a set of role calibration", [&] {
    run(ensemble,
        text(more, set("x", "valood", "shift = \"covariate\"\ncalibration = \"othr\"\n")));
  });
  const auto leak = set("other", "valood", "role = \"calibration\"\n");
  expect_error(ErrorKind::kUsage, "expected other rows than those of the test set",
               [&] { run(ensemble, text(more, reads + leak)); });
}

// AUROC is a mean over pairs of a known and an unknown input, so that of several known sets is
// theirs, weighted by rows.
TEST_F(Evaluate, InTheFullSpectrumCovariateSetsAreKnown) {
  const auto set = [&](const char* name) {
    return fmt::format(
        "[[evaluate.sets]]\nname = \"{1}\"\nshift = \"covariate\"\npaths = [\"{0}/{1}.hdf5\"]\n",
        folder.path(), name);
  };
  const auto ensemble = made_ensemble(folder.path(), "mlp", 3, kDim, kClasses);
  const std::string more =
      "predictors = [\"ensemble\", \"mean\"]\nscores = [\"msp\"]\nmetrics = [\"accuracy\", "
      "\"auroc\"]\n";
  const auto full =
      run(ensemble, text(more + "full_spectrum = true\n", set("val") + set("fit"))).rows;
  const auto apart = run(ensemble, text(more, set("val") + set("fit"))).rows;
  const auto against = [&](const std::string& known) {
    auto config = text(more);
    config.replace(config.find("id.hdf5"), 7, known);
    return value_of(run(ensemble, config).rows, "ensemble", "ood", "msp", "auroc");
  };
  EXPECT_NEAR(
      value_of(full, "ensemble", "ood", "msp", "auroc"),
      (150 * against("id.hdf5") + 120 * against("val.hdf5") + 130 * against("fit.hdf5")) / 400,
      1e-12);
  const auto accuracy = [&](const char* name) {
    return value_of(apart, "ensemble", name, "", "accuracy");
  };
  EXPECT_NEAR(value_of(full, "ensemble", "id+covariate", "", "accuracy"),
              (150 * accuracy("id") + 120 * accuracy("val") + 130 * accuracy("fit")) / 400, 1e-12);
  EXPECT_EQ(value_of(full, "ensemble", "val", "", "accuracy"), accuracy("val"));
  for (const auto& row : full) {
    EXPECT_EQ(row.split == "full_spectrum", row.dataset == "ood" || row.dataset == "id+covariate")
        << row.dataset;
    EXPECT_FALSE(row.shift == "covariate" && row.metric == "auroc");
  }
  const auto config = evaluate_config(text(more + "full_spectrum = true\n"));
  ASSERT_EQ(conflicts(config).size(), 1u);
  EXPECT_EQ(conflicts(config)[0].key, "evaluate.full_spectrum");
}

TEST_F(Evaluate, HeadsOnCachedFeaturesHaveNoSaliencyMaps) {
  const auto found = conflicts(evaluate_config(text("saliency = 4\n")));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].key, "evaluate.saliency");
  EXPECT_NE(found[0].message.find("found a cache"), std::string::npos);
}

TEST_F(Evaluate, TheSizeOfAllMembersIsTheEnsembleAndSizeOneTheMean) {
  const auto rows =
      run(made_ensemble(folder.path(), "mlp", 4, kDim, kClasses),
          text("predictors = [\"ensemble\", \"mean\"]\nscores = [\"msp\"]\nsub_ensembles = 10\n"))
          .rows;
  EXPECT_EQ(value_of(rows, "size:4", "id", "", "accuracy"),
            value_of(rows, "ensemble", "id", "", "accuracy"));
  EXPECT_EQ(value_of(rows, "size:4", "id", "", "accuracy_std"), 0);
  EXPECT_DOUBLE_EQ(value_of(rows, "size:1", "ood", "msp", "auroc"),
                   value_of(rows, "mean", "ood", "msp", "auroc"));
}
