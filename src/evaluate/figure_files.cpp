#include "evaluate/figure_files.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/ranking.hpp>

#include <cctype>
#include <cmath>

namespace dissent {
namespace {

constexpr int64_t kRocPoints = 200, kBins = 40;

// Smallest and largest finite value of all sets; one wide if they are equal.
std::pair<double, double> range_of(const std::vector<at::Tensor>& sets) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const auto& values : sets) {
    const auto finite = values.masked_select(values.isfinite());
    if (finite.numel() == 0) continue;
    low = std::min(low, finite.min().item<double>());
    high = std::max(high, finite.max().item<double>());
  }
  if (low > high) low = high = 0;
  return low < high ? std::pair(low, high) : std::pair(low - 0.5, low + 0.5);
}

}  // namespace

std::string file_part(std::string text) {
  for (auto& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '+') c = '-';
  return text;
}

std::vector<std::string> run_labels(const std::vector<RunKey>& runs) {
  std::vector<std::string> labels;
  for (const auto& a : runs) {
    bool methods = false, hashes = false,
         seeds = false;  // in which a run of this name differs first
    for (const auto& b : runs) {
      if (a.run != b.run) continue;
      if (a.method != b.method)
        methods = true;
      else if (a.config_hash != b.config_hash)
        hashes = true;
      else if (a.seed != b.seed)
        seeds = true;
    }
    labels.push_back((methods ? a.method + "/" : "") + a.run + (hashes ? "-" + a.config_hash : "") +
                     (seeds ? fmt::format("-{}", a.seed) : ""));
  }
  return labels;
}

std::vector<std::string> file_names(const std::vector<LoadedEnsemble>& ensembles) {
  std::vector<RunKey> runs;
  for (const auto& ensemble : ensembles)
    runs.push_back({ensemble.run, ensemble.method, ensemble.config_hash, ensemble.seed});
  std::vector<std::string> names;
  for (const auto& label : run_labels(runs)) {
    auto name = file_part(label);
    while (std::find(names.begin(), names.end(), name) != names.end()) name += "+";
    names.push_back(name);
  }
  return names;
}

std::vector<FigurePoint> reliability_points(const std::string& series,
                                            const std::vector<metrics::ReliabilityBin>& bins) {
  double all = 0;
  for (const auto& bin : bins) all += static_cast<double>(bin.count);
  std::vector<FigurePoint> points;
  for (const auto& bin : bins)
    if (bin.count > 0)
      points.push_back({"reliability", series, bin.mean_confidence(), bin.accuracy(), bin.low,
                        bin.high, static_cast<double>(bin.count) / all});
  return points;
}

std::vector<FigurePoint> roc_points(const std::string& series, const at::Tensor& unknown,
                                    const at::Tensor& known) {
  const auto curve = metrics::Ranking::from_scores(unknown, known).finish();
  const auto size = static_cast<int64_t>(curve.thresholds.size());
  std::vector<FigurePoint> points{{.kind = "roc", .series = series}};
  int64_t last = 0;  // cell of x + y, so that steps along both axes count
  for (int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(curve.false_positives[i]) /
                     static_cast<double>(curve.negatives),
                 y = static_cast<double>(curve.true_positives[i]) /
                     static_cast<double>(curve.positives);
    const auto cell = static_cast<int64_t>((x + y) / 2 * (kRocPoints - 3));
    if (size + 1 > kRocPoints && cell == last && i + 1 < size) continue;
    points.push_back({.kind = "roc", .series = series, .x = x, .y = y});
    last = cell;
  }
  return points;
}

std::vector<FigurePoint> histogram_points(const std::string& series, const at::Tensor& values,
                                          double low, double high) {
  std::vector<int64_t> counts(kBins, 0);
  const auto host = values.to(at::kDouble).contiguous();
  const double width = (high - low) / static_cast<double>(kBins);
  for (int64_t i = 0; i < host.numel(); ++i) {
    const double place = (host.const_data_ptr<double>()[i] - low) / width;
    ++counts[static_cast<int64_t>(std::clamp(place, 0.0, static_cast<double>(kBins - 1)))];
  }
  std::vector<FigurePoint> points;
  for (int64_t b = 0; b < kBins; ++b) {
    const double from = low + width * static_cast<double>(b),
                 to = b + 1 == kBins ? high : low + width * static_cast<double>(b + 1);
    if (counts[b] > 0)
      points.push_back({.kind = "histogram",
                        .series = series,
                        .x = (from + to) / 2,
                        .y = static_cast<double>(counts[b]) / static_cast<double>(host.numel()),
                        .low = from,
                        .high = to});
  }
  return points;
}

std::vector<FigureFile> score_figures(const std::string& run,
                                      const std::vector<PlannedScore>& scores,
                                      const std::vector<KeptSet>& sets,
                                      const std::string& convention) {
  std::vector<FigureFile> files;
  const auto append = [](std::vector<FigurePoint>& to, const std::vector<FigurePoint>& points) {
    to.insert(to.end(), points.begin(), points.end());
  };
  for (size_t k = 1; k < sets.size(); ++k) {
    if (sets[k].scores.empty()) continue;
    FigureFile file{fmt::format("{}-{}-roc", run, file_part(sets[k].name)), {}};
    for (size_t s = 0; s < scores.size(); ++s) {
      const double sign = scores[s].larger_for_id(convention) ? -1 : 1;
      append(file.points,
             roc_points(scores[s].name, sets[k].scores[s] * sign, sets[0].scores[s] * sign));
    }
    files.push_back(std::move(file));
  }
  for (size_t s = 0; s < scores.size(); ++s) {
    FigureFile file{fmt::format("{}-{}-histogram", run, file_part(scores[s].name)), {}};
    std::vector<at::Tensor> all;
    for (const auto& set : sets)
      if (!set.scores.empty()) all.push_back(set.scores[s]);
    const auto [low, high] = range_of(all);
    for (const auto& set : sets)
      if (!set.scores.empty())
        append(file.points, histogram_points(set.name, set.scores[s], low, high));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace dissent
