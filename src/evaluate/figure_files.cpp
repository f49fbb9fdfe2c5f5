#include "evaluate/figure_files.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/ranking.hpp>

#include <cctype>
#include <cmath>

namespace dissent {
namespace {

constexpr int64_t kMostCorners = 2000, kRocCells = 1000, kBins = 40;

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

// Counts above each threshold, of several curves that share their negatives.
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
  std::vector<size_t> at(curves.size());
  while (true) {
    double threshold = -HUGE_VAL;
    bool more = false;
    for (size_t f = 0; f < curves.size(); ++f)
      if (at[f] < curves[f].thresholds.size())
        threshold = std::max(threshold, curves[f].thresholds[at[f]]), more = true;
    if (!more) return counts;
    auto right = counts.true_positives.back();
    auto wrong = counts.false_positives.back();
    for (size_t f = 0; f < curves.size(); ++f) {
      if (at[f] == curves[f].thresholds.size() || curves[f].thresholds[at[f]] != threshold)
        continue;
      right[f] = curves[f].true_positives[at[f]];
      wrong = curves[f].false_positives[at[f]];  // each curve has all negatives
      ++at[f];
    }
    counts.true_positives.push_back(std::move(right));
    counts.false_positives.push_back(wrong);
  }
}

// Whether the curve bends at point i, or ends there.
bool is_corner(const RocCounts& counts, size_t i) {
  if (i == 0 || i + 1 == counts.false_positives.size()) return true;
  const uint64_t x = counts.false_positives[i] - counts.false_positives[i - 1],
                 next_x = counts.false_positives[i + 1] - counts.false_positives[i];
  for (size_t f = 0; f < counts.positives.size(); ++f) {
    const uint64_t y = counts.true_positives[i][f] - counts.true_positives[i - 1][f],
                   next_y = counts.true_positives[i + 1][f] - counts.true_positives[i][f];
    if (x * next_y != next_x * y) return true;
  }
  return false;
}

// The scores of each file of a set.
std::vector<at::Tensor> of_files(const KeptSet& set, const at::Tensor& scores) {
  return set.files.empty() ? std::vector<at::Tensor>{scores} : scores.split_with_sizes(set.files);
}

double trapezoids(const std::vector<PlotPoint>& points, size_t first, size_t last) {
  double sum = 0;
  for (size_t i = first + 1; i <= last; ++i)
    sum += (points[i].x - points[i - 1].x) * (points[i].y + points[i - 1].y) / 2;
  return sum;
}

// At most two points a cell of x + y, with the area of all.
std::vector<PlotPoint> thinned(const std::vector<PlotPoint>& corners) {
  std::vector<PlotPoint> points{corners[0]};
  const auto cell = [&](size_t i) {
    return static_cast<int64_t>((corners[i].x + corners[i].y) / 2 * kRocCells);
  };
  for (size_t last = 0, i = 1; i < corners.size(); ++i) {
    if (cell(i) == cell(last) && i + 1 < corners.size()) continue;
    const auto &a = corners[last], &b = corners[i];
    const double width = b.x - a.x, height = b.y - a.y, area = trapezoids(corners, last, i),
                 chord = width * (a.y + b.y) / 2;
    auto between = b;
    if (i > last + 1 && width > 0 && height > 0 && area != chord) {
      if (area > chord)
        between.x = std::clamp(a.x + 2 * (width * b.y - area) / height, a.x, b.x);
      else
        between.y = std::clamp(2 * area / width - a.y, a.y, b.y);
      points.push_back(between);
    }
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

std::vector<PlotPoint> reliability_points(const std::string& series,
                                          const std::vector<metrics::ReliabilityBin>& bins) {
  double all = 0;
  for (const auto& bin : bins) all += static_cast<double>(bin.count);
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
    const double place = (host.const_data_ptr<double>()[i] - low) / width;
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

std::vector<FigureFile> score_figures(const std::string& run,
                                      const std::vector<PlannedScore>& scores,
                                      const std::vector<KeptSet>& sets,
                                      const std::string& convention) {
  std::vector<FigureFile> files;
  const auto append = [](std::vector<PlotPoint>& to, const std::vector<PlotPoint>& points) {
    to.insert(to.end(), points.begin(), points.end());
  };
  for (size_t k = 1; k < sets.size(); ++k) {
    if (sets[k].scores.empty()) continue;
    FigureFile file{fmt::format("{}-{}-roc", run, file_part(sets[k].name)), {}};
    for (size_t s = 0; s < scores.size(); ++s) {
      const double sign = scores[s].larger_for_id(convention) ? -1 : 1;
      append(file.points, roc_points(scores[s].name, of_files(sets[k], sets[k].scores[s] * sign),
                                     sets[0].scores[s] * sign));
    }
    if (!file.points.empty()) file.points[0].label = "unknown inputs are positive";
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
    if (!file.points.empty())
      file.points[0].label = scores[s].larger_for_id(convention)
                                 ? fmt::format("← unknown    {}    known →", scores[s].name)
                                 : fmt::format("← known    {}    unknown →", scores[s].name);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace dissent
