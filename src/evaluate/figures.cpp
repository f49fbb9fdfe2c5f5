#include "evaluate/figures.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/ranking.hpp>

#include <cmath>

namespace dissent {
namespace {

constexpr double kRecall = 0.95;

metrics::TopBin top_bin(const std::string& convention) {
  if (convention == "sdde" || convention == "openood") return metrics::TopBin::kDropped;
  return convention == "torch_uncertainty" ? metrics::TopBin::kOwn : metrics::TopBin::kClosed;
}

// Rows [nll, brier, confidence] of logits; rows without a label count as class 0 and are never read.
std::vector<at::Tensor> calibration_values(const at::Tensor& z, const at::Tensor& labels, const std::string& convention) {
  const auto log_p = at::log_softmax(z, 1), p = log_p.exp();
  const auto place = labels.clamp_min(0).unsqueeze(1);
  const auto p_y = p.gather(1, place).squeeze(1);
  return {log_p.gather(1, place).squeeze(1).neg(), p.square().sum(1) - 2 * p_y + 1, convention == "openood" ? z.amax(1) : p.amax(1)};
}

void check_values(const at::Tensor& values, const std::string& score, const std::string& set) {
  const auto bad = values.isnan().sum().item<int64_t>();
  DISSENT_CHECK(bad == 0, kData, "score {} of {}: {} of {} values are NaN", score, set, bad, values.numel());
}

}  // namespace

ColumnGroup label_columns(const ColumnPlan& plan, const Predictor& predictor, const EvaluateOptions& options, std::optional<double> temperature) {
  ColumnGroup group;
  const bool calibrated = wants(options.metrics, "nll") || wants(options.metrics, "brier") || wants(options.metrics, "ece") || wants(options.metrics, "ece_max");
  group.keys = {predictor.name + "|right"};
  if (calibrated)
    for (const char* key : {"|nll", "|brier", "|confidence"}) group.keys.push_back(predictor.name + key);
  if (calibrated && temperature)
    for (const char* key : {"|nll@T", "|brier@T", "|confidence@T"}) group.keys.push_back(predictor.name + key);
  group.values = [=, units = plan.units](const MemberOutputs& outputs, const at::Tensor& labels) {
    const auto z = output_logits(unit_rows(outputs.logits, units, predictor.units), predictor, options);
    std::vector<at::Tensor> rows{z.argmax(1).eq(labels)};
    const auto add = [&](const at::Tensor& logits) {
      for (const auto& values : calibration_values(logits, labels, options.convention)) rows.push_back(values);
    };
    if (calibrated) add(z);
    if (calibrated && temperature) add(z / *temperature);
    for (auto& row : rows) row = row.to(at::kDouble);
    return at::stack(rows);
  };
  return group;
}

std::vector<Figure> label_figures(const SetColumns& columns, const std::string& predictor, const EvaluateOptions& options) {
  std::vector<Figure> figures;
  const int64_t n = columns.rows();
  const auto right = columns.at(predictor + "|right");
  if (wants(options.metrics, "accuracy"))
    figures.push_back({"", "accuracy", static_cast<double>(right.sum().item<double>()) / static_cast<double>(n), n});
  for (const std::string after : {"", "@T"}) {
    if (!columns.has(predictor + "|nll" + after)) continue;
    const std::string score = after.empty() ? "" : "temperature";
    const auto put = [&](const char* metric, double value) {
      if (wants(options.metrics, metric)) figures.push_back({score, metric, value, n});
    };
    const auto mean = [&](const char* key) {
      metrics::SampleMean all;
      all.update(columns.at(predictor + key + after));
      return all.finish();
    };
    put("nll", mean("|nll"));
    put("brier", mean("|brier"));
    metrics::Calibration calibration;
    calibration.update(columns.at(predictor + "|confidence" + after), right.ne(0));
    put("ece", calibration.expected_error(options.bins, top_bin(options.convention)));
    put("ece_max", calibration.largest_error(options.bins, top_bin(options.convention)));
  }
  return figures;
}

double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const std::string& convention, const std::string& ood_name) {
  check_values(id, score.name, "the in-distribution set");
  check_values(ood, score.name, ood_name);
  const bool id_positive = score.larger_for_id(convention);
  return metrics::auroc(metrics::Ranking::from_scores(id_positive ? id : ood, id_positive ? ood : id).finish());
}

std::vector<Figure> ranking_figures(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const EvaluateOptions& options, const std::string& ood_name) {
  std::vector<Figure> figures;
  const int64_t n = id.numel() + ood.numel();
  const auto& convention = options.convention;
  if (wants(options.metrics, "auroc")) figures.push_back({score.name, "auroc", auroc_of(id, ood, score, convention, ood_name), n});
  if (!wants(options.metrics, "fpr95") && !wants(options.metrics, "aupr_in") && !wants(options.metrics, "aupr_out")) return figures;
  check_values(id, score.name, "the in-distribution set");
  check_values(ood, score.name, ood_name);
  const double sign = score.larger_for_id(convention) ? 1 : -1;
  const auto curve = [&](bool id_positive) {
    const double turn = id_positive ? sign : -sign;
    return metrics::Ranking::from_scores((id_positive ? id : ood) * turn, (id_positive ? ood : id) * turn).finish();
  };
  if (wants(options.metrics, "fpr95")) {
    const auto points = convention == "sdde" || convention == "openood" ? metrics::RocPoints::kDropCollinear : metrics::RocPoints::kAll;
    figures.push_back({score.name, "fpr95", metrics::fpr_at_recall(curve(false), kRecall, points), n});
  }
  for (const bool in : {true, false}) {
    const char* metric = in ? "aupr_in" : "aupr_out";
    if (!wants(options.metrics, metric)) continue;
    const auto area = curve(convention == "sdde" ? !in : in);
    figures.push_back({score.name, metric, convention == "torch_uncertainty" ? metrics::average_precision(area) : metrics::aupr(area), n});
  }
  return figures;
}

at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble, const Predictor& predictor, const PlannedScore& score) {
  if (!predictor.group || !score.mean_of_networks()) return columns.at(score_key(predictor, score));
  at::Tensor sum;
  for (const int64_t unit : predictor.units) {
    const auto values = columns.at(ensemble.unit_name(unit) + "|" + score.name);
    sum = sum.defined() ? sum + values : values.clone();
  }
  return sum / static_cast<double>(predictor.units.size());
}

std::vector<ReliabilityBin> reliability(const at::Tensor& confidence, const at::Tensor& right, int64_t bins) {
  std::vector<ReliabilityBin> filled(bins);
  const auto* c = confidence.const_data_ptr<double>();
  const auto* r = right.const_data_ptr<double>();
  for (int64_t i = 0; i < confidence.numel(); ++i) {
    if (!(c[i] >= 0 && c[i] <= 1)) continue;
    auto& bin = filled[std::min(bins - 1, static_cast<int64_t>(c[i] * static_cast<double>(bins)))];
    ++bin.count;
    bin.accuracy += r[i];
    bin.confidence += c[i];
  }
  for (int64_t b = 0; b < bins; ++b) {
    auto& bin = filled[b];
    bin.low = static_cast<double>(b) / static_cast<double>(bins);
    bin.high = static_cast<double>(b + 1) / static_cast<double>(bins);
    if (bin.count == 0) continue;
    bin.accuracy /= static_cast<double>(bin.count);
    bin.confidence /= static_cast<double>(bin.count);
  }
  return filled;
}

}  // namespace dissent
