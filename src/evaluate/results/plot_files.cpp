#include "evaluate/results/plot_files.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/ranking.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace dissent {
namespace {

constexpr int64_t kMostCorners = 2000, kRocCells = 1000, kBins = 40;

// Smallest and largest finite value of all sets; one wide if they are equal.
std::pair<double, double> range_of(const std::vector<at::Tensor>& sets) {
  // Infinite scores would make the bins infinitely wide.
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const auto& values : sets) {
    const auto finite = values.masked_select(values.isfinite());
    if (finite.numel() == 0) continue;
    low = std::min(low, finite.min().item<double>());
    high = std::max(high, finite.max().item<double>());
  }

  // No finite value at all: any range will do, since all values are in the outer bins.
  if (low > high) low = high = 0;
  return low < high ? std::pair(low, high) : std::pair(low - 0.5, low + 0.5);
}

// Counts above each threshold, for several curves with the same negatives.
struct RocCounts {
  std::vector<uint64_t> positives;  // [F]
  uint64_t negatives = 0;
  std::vector<uint64_t> false_positives;              // [T]
  std::vector<std::vector<uint64_t>> true_positives;  // [T][F]
};

RocCounts roc_counts(const std::vector<metrics::RankingCurve>& curves) {
  RocCounts counts{.positives = {},
                   .negatives = curves[0].negatives,
                   .false_positives = {0},
                   .true_positives = {std::vector<uint64_t>(curves.size())}};
  for (const auto& curve : curves) counts.positives.push_back(curve.positives);

  // Merges the descending thresholds of all curves; next[f] is the next threshold of curve f.
  std::vector<size_t> next(curves.size());
  while (true) {
    double threshold = -HUGE_VAL;
    bool more = false;
    for (size_t f = 0; f < curves.size(); ++f) {
      if (next[f] == curves[f].thresholds.size()) continue;
      threshold = std::max(threshold, curves[f].thresholds[next[f]]);
      more = true;
    }
    if (!more) return counts;

    // Curves without this threshold keep their counts. All curves have the same negatives.
    auto true_positives = counts.true_positives.back();
    auto false_positives = counts.false_positives.back();
    for (size_t f = 0; f < curves.size(); ++f) {
      if (next[f] == curves[f].thresholds.size() || curves[f].thresholds[next[f]] != threshold)
        continue;
      true_positives[f] = curves[f].true_positives[next[f]];
      false_positives = curves[f].false_positives[next[f]];
      ++next[f];
    }
    counts.true_positives.push_back(std::move(true_positives));
    counts.false_positives.push_back(false_positives);
  }
}

// Whether the curve bends at point i, or ends there.
bool is_corner(const RocCounts& counts, size_t i) {
  if (i == 0 || i + 1 == counts.false_positives.size()) return true;

  // Slopes y / x before and after the point, compared as products of integers.
  const uint64_t x = counts.false_positives[i] - counts.false_positives[i - 1],
                 next_x = counts.false_positives[i + 1] - counts.false_positives[i];

  for (size_t f = 0; f < counts.positives.size(); ++f) {
    const uint64_t y = counts.true_positives[i][f] - counts.true_positives[i - 1][f],
                   next_y = counts.true_positives[i + 1][f] - counts.true_positives[i][f];
    if (x * next_y != next_x * y) return true;
  }
  return false;
}

// The scores of a set, split into its files.
std::vector<at::Tensor> split_files(const SetScores& set, const at::Tensor& scores) {
  if (set.file_rows.empty()) return {scores};
  return scores.split_with_sizes(set.file_rows);
}

double trapezoids(const std::vector<PlotPoint>& points, size_t first, size_t last) {
  double sum = 0;
  for (size_t i = first + 1; i <= last; ++i)
    sum += (points[i].x - points[i - 1].x) * (points[i].y + points[i - 1].y) / 2;
  return sum;
}

// A point between two corners that gives the two segments the area below all corners between them;
// none if the straight line has this area.
std::optional<PlotPoint> area_point(const std::vector<PlotPoint>& corners, size_t first,
                                    size_t last) {
  const auto &a = corners[first], &b = corners[last];

  // With the point (x, b.y) the two segments have the area width b.y - (x - a.x) height / 2, with
  // (b.x, y) the area width (a.y + y) / 2: solved for x or y.
  const double width = b.x - a.x, height = b.y - a.y;
  const double area = trapezoids(corners, first, last), chord = width * (a.y + b.y) / 2;
  if (area == chord) return std::nullopt;
  auto point = b;
  if (area > chord)
    point.x = std::clamp(a.x + 2 * (width * b.y - area) / height, a.x, b.x);
  else
    point.y = std::clamp(2 * area / width - a.y, a.y, b.y);
  return point;
}

// At most two points per cell of x + y, with the area of all corners.
std::vector<PlotPoint> thinned(const std::vector<PlotPoint>& corners) {
  const auto cell = [&](size_t i) {
    return static_cast<int64_t>((corners[i].x + corners[i].y) / 2 * kRocCells);
  };
  std::vector<PlotPoint> points{corners[0]};
  size_t last = 0;
  for (size_t i = 1; i < corners.size(); ++i) {
    const bool same_cell = cell(i) == cell(last);
    const bool at_end = i + 1 == corners.size();
    if (same_cell && !at_end) continue;

    // The omitted corners between the last point and this one are replaced by one point. On a
    // vertical or horizontal line there is nothing to replace.
    const auto &a = corners[last], &b = corners[i];
    const bool omits_corners = i > last + 1 && b.x > a.x && b.y > a.y;
    if (omits_corners)
      if (const auto between = area_point(corners, last, i)) points.push_back(*between);
    points.push_back(b);
    last = i;
  }
  return points;
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
    // The first property in which another run of this name differs.
    bool methods_differ = false, hashes_differ = false, seeds_differ = false;
    for (const auto& b : runs) {
      if (a.run != b.run) continue;
      if (a.method != b.method)
        methods_differ = true;
      else if (a.config_hash != b.config_hash)
        hashes_differ = true;
      else if (a.seed != b.seed)
        seeds_differ = true;
    }

    // Only what distinguishes the runs is added: most labels stay short.
    auto label = a.run;
    if (methods_differ) label = a.method + "/" + label;
    if (hashes_differ) label += "-" + a.config_hash;
    if (seeds_differ) label += fmt::format("-{}", a.seed);
    labels.push_back(std::move(label));
  }
  return labels;
}

std::vector<std::string> file_names(const std::vector<LoadedEnsemble>& ensembles) {
  std::vector<RunKey> runs;
  for (const auto& ensemble : ensembles)
    runs.push_back({ensemble.run, ensemble.method, ensemble.config_hash, ensemble.seed});
  std::vector<std::string> names;

  // Different labels may become the same file name (characters are replaced): a later one gets a
  // "+".
  for (const auto& label : run_labels(runs)) {
    auto name = file_part(label);
    while (std::find(names.begin(), names.end(), name) != names.end()) name += "+";
    names.push_back(name);
  }
  return names;
}

std::vector<PlotPoint> reliability_points(const std::string& series,
                                          const std::vector<metrics::ReliabilityBin>& bins) {
  double all = 0;
  for (const auto& bin : bins) all += static_cast<double>(bin.count);

  // Empty bins have neither a confidence nor an accuracy.
  std::vector<PlotPoint> points;
  for (const auto& bin : bins)
    if (bin.count > 0)
      points.push_back({PlotKind::kReliability, series, bin.mean_confidence(), bin.accuracy(),
                        bin.low, bin.high, static_cast<double>(bin.count) / all});
  return points;
}

std::vector<PlotPoint> roc_points(const std::string& series, const std::vector<at::Tensor>& unknown,
                                  const at::Tensor& known) {
  std::vector<metrics::RankingCurve> curves;
  double areas = 0;
  for (const auto& file : unknown) {
    curves.push_back(metrics::Ranking::from_scores(file, known).finish());
    areas += metrics::auroc(curves.back());
  }

  // The mean curve: false-positive rates are the same for all files, true-positive rates are
  // averaged.
  const auto counts = roc_counts(curves);
  const auto files = static_cast<double>(curves.size());
  std::vector<PlotPoint> corners;
  for (size_t i = 0; i < counts.false_positives.size(); ++i) {
    if (!is_corner(counts, i)) continue;
    double y = 0;
    for (size_t f = 0; f < curves.size(); ++f)
      y += static_cast<double>(counts.true_positives[i][f]) /
           static_cast<double>(counts.positives[f]);
    corners.push_back({.kind = PlotKind::kRoc,
                       .series = series,
                       .x = static_cast<double>(counts.false_positives[i]) /
                            static_cast<double>(counts.negatives),
                       .y = y / files});
  }
  corners[0].area = areas / files;
  return corners.size() > kMostCorners ? thinned(corners) : corners;
}

std::vector<PlotPoint> histogram_points(const std::string& series, const at::Tensor& values,
                                        double low, double high) {
  std::vector<int64_t> counts(kBins, 0);
  const auto host = values.to(at::kDouble).contiguous();
  const double width = (high - low) / static_cast<double>(kBins);
  for (int64_t i = 0; i < host.numel(); ++i) {
    // Infinite scores are counted in the first or last bin, NaN in none.
    const double place = (host.const_data_ptr<double>()[i] - low) / width;
    if (!std::isnan(place))
      ++counts[static_cast<int64_t>(std::clamp(place, 0.0, static_cast<double>(kBins - 1)))];
  }

  std::vector<PlotPoint> points;
  for (int64_t b = 0; b < kBins; ++b) {
    const double from = low + width * static_cast<double>(b),
                 to = b + 1 == kBins ? high : low + width * static_cast<double>(b + 1);
    if (counts[b] > 0)
      points.push_back({.kind = PlotKind::kHistogram,
                        .series = series,
                        .x = (from + to) / 2,
                        .y = static_cast<double>(counts[b]) / static_cast<double>(host.numel()),
                        .low = from,
                        .high = to});
  }
  return points;
}

std::vector<PlotFile> score_plots(const std::string& run, const std::vector<PlannedScore>& scores,
                                  const std::vector<SetScores>& sets,
                                  metrics::Convention convention) {
  std::vector<PlotFile> files;
  const auto append = [](std::vector<PlotPoint>& to, const std::vector<PlotPoint>& points) {
    to.insert(to.end(), points.begin(), points.end());
  };

  // ROC curves of each set against the in-distribution set, which comes first.
  for (size_t k = 1; k < sets.size(); ++k) {
    if (sets[k].scores.empty()) continue;
    PlotFile file{fmt::format("{}-{}-roc", run, file_part(sets[k].name)), {}};
    for (size_t s = 0; s < scores.size(); ++s) {
      // Unknown inputs are the positive class, so scores are turned to be larger for them.
      const double sign = scores[s].larger_for_id(convention) ? -1 : 1;
      append(file.points, roc_points(scores[s].name, split_files(sets[k], sets[k].scores[s] * sign),
                                     sets[0].scores[s] * sign));
    }
    if (!file.points.empty()) file.points[0].label = "unknown inputs are positive";
    files.push_back(std::move(file));
  }

  // Histograms of each score over all sets, with common bins.
  for (size_t s = 0; s < scores.size(); ++s) {
    PlotFile file{fmt::format("{}-{}-histogram", run, file_part(scores[s].name)), {}};

    std::vector<at::Tensor> all;
    for (const auto& set : sets)
      if (!set.scores.empty()) all.push_back(set.scores[s]);
    const auto [low, high] = range_of(all);
    for (const auto& set : sets)
      if (!set.scores.empty())
        append(file.points, histogram_points(set.name, set.scores[s], low, high));
    if (!file.points.empty())
      file.points[0].label = scores[s].larger_for_id(convention)
                                 ? fmt::format("← unknown    {}    known →", scores[s].name)
                                 : fmt::format("← known    {}    unknown →", scores[s].name);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace dissent
