#include <fmt/format.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "report/event_file.hpp"
#include "report/plots.hpp"
#include "storage/atomic_file.hpp"
#include "unit/report/texts.hpp"

using namespace dissent;
using namespace dissent::report;
using dissent::testing::error_of;

namespace {

struct Figures : ::testing::Test {
  std::string folder =
      (std::filesystem::temp_directory_path() / fmt::format("dissent_figures_{}", ::getpid()))
          .string();
  Figures() { make_folder(folder); }
  ~Figures() override { std::filesystem::remove_all(folder); }
  std::string file(const std::string& name, const std::string& text) {
    make_folder(std::filesystem::path(folder + "/" + name).parent_path().string());
    atomic_write_text(folder + "/" + name, text);
    return folder + "/" + name;
  }
};

const std::string kLogHeader = "epoch,steps,total,accuracy_ensemble,accuracy_mean,nll\n";

}  // namespace

TEST_F(Figures, FilesComeBackAndErrorsNameTheLine) {
  const std::vector<PlotPoint> bins{{PlotKind::kReliability, "a, b", 0.25, 0.2, 0.0, 0.5, 0.4},
                                    {PlotKind::kReliability, "a, b", 0.75, 0.7, 0.5, 1.0, 0.6}};
  const auto path = folder + "/r.csv";
  write_plot(path, bins);
  EXPECT_EQ(read_plot(path), bins);
  EXPECT_EQ(read_text(path),
            "kind,series,x,y,low,high,weight\nreliability,\"a, "
            "b\",0.25,0.2,0,0.5,0.4\nreliability,\"a, b\",0.75,0.7,0.5,1,0.6\n");
  EXPECT_EQ(read_plot(file("marked.csv",
                           "\xEF\xBB\xBF"
                           "y,x,series,kind\r\n1,0.5,s,roc\r\n")),
            read_plot(file("plain.csv", "y,x,series,kind\n1,0.5,s,roc\n")));
  EXPECT_EQ(read_plot(file("roc.csv", "y,x,series,kind\n1,0.5,s,roc\n")),
            (std::vector<PlotPoint>{{PlotKind::kRoc, "s", 0.5, 1}}));
  const auto wrong = [&](const std::string& row) {
    return error_of(ErrorKind::kData,
                    [&] { read_plot(file("w.csv", "kind,series,x,y,low,high,weight\n" + row)); });
  };
  EXPECT_CONTAINS(wrong("roc,s,a,1,,,\n"), "w.csv:2: column x: expected a number, found 'a'");
  EXPECT_CONTAINS(wrong("rok,s,0,1,,,\n"),
                  "w.csv:2: kind: expected one of reliability, histogram, roc, curve; found 'rok'");
  EXPECT_CONTAINS(wrong("roc,s,0,0,,,\ncurve,s,0,1,,,\n"),
                  "w.csv:3: kind: expected roc as in the rows before");
  EXPECT_CONTAINS(wrong("histogram,s,0,1,,,\n"), "expected the edges of the bin");
  EXPECT_CONTAINS(wrong("histogram,s,0,1,2,1,\n"), "expected low <= high");
  EXPECT_CONTAINS(wrong("roc,s,nan,1,,,\n"), "expected finite numbers");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { write_plot(path, {{PlotKind::kHistogram, "s", 0, 1}}); }),
      "point 0: low, high");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { plot_points({path}, PlotKind::kRoc); }),
                  "expected points of kind roc, found reliability");
}

// Legends hold what can be checked by hand: sum of share |accuracy - confidence|, and the area of a
// triangle.
TEST_F(Figures, LegendsHoldCalibrationErrorAndArea) {
  const auto reliability =
      reliability_script({{PlotKind::kReliability, "s", 0.25, 0.2, 0.0, 0.5, 0.4},
                          {PlotKind::kReliability, "s", 0.75, 0.95, 0.5, 1.0, 0.6}},
                         Canvas{});
  EXPECT_CONTAINS(reliability, "'s (ECE 14.0 %)'");  // 0.4 x 0.05 + 0.6 x 0.2
  EXPECT_CONTAINS(roc_script({{PlotKind::kRoc, "it's", 0, 0},
                              {PlotKind::kRoc, "it's", 0.25, 1},
                              {PlotKind::kRoc, "it's", 1, 1}},
                             Canvas{}),
                  "'it''s (AUROC 0.8750)'");
  // The area that a file says wins over its points, which may be fewer than those of the curve.
  EXPECT_CONTAINS(
      roc_script({{PlotKind::kRoc, "s", 0, 0, {}, {}, {}, 0.98125}, {PlotKind::kRoc, "s", 1, 1}},
                 Canvas{}),
      "'s (AUROC 0.9812)'");
  write_plot(folder + "/area.csv",
             {{PlotKind::kRoc, "s", 0, 0, {}, {}, {}, 0.125}, {PlotKind::kRoc, "s", 1, 1}});
  EXPECT_EQ(*read_plot(folder + "/area.csv")[0].area, 0.125);
  EXPECT_FALSE(read_plot(folder + "/area.csv")[1].area);
  const auto path = folder + "/a.csv", other = folder + "/b.csv";
  write_plot(path, {{PlotKind::kRoc, "s", 0, 0}});
  write_plot(other, {{PlotKind::kRoc, "s", 0, 1}, {PlotKind::kRoc, "t", 0, 1}});
  const auto points = plot_points({path, other}, PlotKind::kRoc);
  EXPECT_EQ(points[0].series, "s (a)");
  EXPECT_EQ(points[1].series, "s (b)");
  EXPECT_EQ(points[2].series, "t");
  write_plot(folder + "/de-seed-1-mnist-roc.csv", {{PlotKind::kRoc, "s", 0, 0}});
  write_plot(folder + "/gradcam-seed-1-mnist-roc.csv", {{PlotKind::kRoc, "s", 0, 1}});
  EXPECT_EQ(
      plot_points({folder + "/de-seed-1-mnist-roc.csv", folder + "/gradcam-seed-1-mnist-roc.csv"},
                  PlotKind::kRoc)[1]
          .series,
      "s (gradcam)");
}

TEST(Legends, LeaveOutWhatAllNamesShare) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(short_names({"cross_entropy+gradcam-seed-1-mnist-roc",
                         "cross_entropy+gradcam-seed-2-mnist-roc"}),
            (Names{"seed-1", "seed-2"}));
  EXPECT_EQ(short_names({"sdde/ncl", "sdde/gradcam", "sdde/adp"}),
            (Names{"ncl", "gradcam", "adp"}));
  EXPECT_EQ(short_names({"cross_entropy", "cross_entropy+a2d"}),
            (Names{"cross_entropy", "cross_entropy+a2d"}));
  EXPECT_EQ(short_names({"mnist", "msp"}), (Names{"mnist", "msp"}));
  EXPECT_EQ(short_names({"a-b", "a-b"}), (Names{"a-b", "a-b"}));
  EXPECT_EQ(short_names({"roc", "a-roc"}), (Names{"roc", "a-roc"}));
  EXPECT_EQ(short_names({"x-a", "x-a-b"}), (Names{"a", "a-b"}));
}

// Two of sixty series have the same colour and dashes only if they have the same number.
TEST(Legends, SixtySeriesDiffer) {
  std::set<std::pair<std::string, std::string>> looks;
  for (size_t i = 0; i < 60; ++i) looks.emplace(series_colour(i), series_dash(i));
  EXPECT_EQ(looks.size(), 60u);
}

TEST_F(Figures, AxesSayTheScoreAndWhereUnknownInputsAre) {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 5; ++i)
    points.push_back({PlotKind::kHistogram, fmt::format("set{}", i), 0.5, 1, 0.0, 1.0});
  points[0].label = "← unknown    msp    known →";
  const auto path = folder + "/msp-histogram.csv", other = folder + "/energy-histogram.csv";
  write_plot(path, points);
  EXPECT_EQ(read_plot(path), points);
  EXPECT_EQ(axis_label(plot_points({path}, PlotKind::kHistogram)), points[0].label);
  EXPECT_CONTAINS(histogram_script(points, Canvas{}, axis_label(points)),
                  "set xlabel '← unknown    msp    known →'");
  EXPECT_EQ(histogram_script(points, Canvas{}, "x").find("boxxyerror"), std::string::npos);
  points[0].label = "energy";
  write_plot(other, points);
  EXPECT_EQ(axis_label(plot_points({path, other}, PlotKind::kHistogram)), "");  // two scores
  EXPECT_CONTAINS(
      roc_script({{PlotKind::kRoc, "s", 0, 0, {}, {}, {}, {}, "unknown inputs are positive"},
                  {PlotKind::kRoc, "s", 1, 1}},
                 Canvas{}),
      "set xlabel 'false positive rate (unknown inputs are positive)'");
}

TEST_F(Figures, CurvesAreMeansOverTheRunsOfAFolder) {
  for (const auto& [seed, off] : {std::pair(1, 0.0), {2, 0.2}})
    file(fmt::format("de/seed-{}/train.csv", seed),
         kLogHeader + fmt::format("0,9,{},0.5,,1\n1,9,{},0.6,,\n", 1 + off, 0.5 + off));
  file("sdde/seed-1/train.csv", kLogHeader + "0,9,3,0.5,,1\n");
  const auto panels = training_panels(
      {folder + "/de/seed-1", folder + "/de/seed-2/train.csv", folder + "/sdde/seed-1"}, {});
  ASSERT_EQ(panels.size(), 3u);  // accuracy_mean is empty
  EXPECT_EQ(panels[2].y_label, "negative log-likelihood (nats)");
  const auto& de = panels[0].lines[0];
  EXPECT_EQ(de.name, "de");
  EXPECT_NEAR(de.points[1].y, 0.6, 1e-12);
  EXPECT_NEAR(*de.points[1].high - de.points[1].y, 0.2 / std::sqrt(2.0),
              1e-12);  // sample deviation of two values 0.2 apart
  EXPECT_FALSE(panels[0].lines[1].points[0].low);
  EXPECT_EQ(panels[2].lines[0].points.size(), 1u);  // an empty field is no point
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { training_panels({folder + "/de/seed-1"}, {"brier"}); }),
      "expected a column 'brier', found epoch, steps");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { training_panels({folder + "/de"}, {}); }),
                  "de/train.csv: no such training log");
}

TEST_F(Figures, SizesComeFromSubEnsemblesAndTheWhole) {
  ResultSet set;
  std::string text =
      "experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,metric,"
      "convention,fidelity,value,n\n";
  const auto row = [&](int seed, const std::string& predictor, double value) {
    text += fmt::format("e,r,h,{},de,4,{},mnist,test,far,msp,auroc,sklearn,,{},9\n", seed,
                        predictor, value);
  };
  row(1, "sub:2:0", 0.6);
  row(1, "sub:2:1", 0.8);
  row(2, "size:2", 0.9);
  row(1, "ensemble", 0.95);
  row(1, "mean", 0.5);
  row(1, "soup", 0.1);
  row(1, "member:0", 0.4);
  add_result_text(set, text, "a.csv");
  const auto panels = size_panels(set, {"method"}, {});
  const auto& points = panels[0].lines.at(0).points;
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(points[0].x, 1);
  EXPECT_NEAR(points[1].y, 0.8, 1e-12);  // seeds: 0.7 and 0.9
  EXPECT_NEAR(*points[1].high, 0.8 + 0.2 / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(points[2].x, 4);
  EXPECT_EQ(panels[0].y_label, "auroc of msp, mnist");
  add_result_text(set,
                  text.substr(0, text.find('\n') + 1) +
                      "e,r,h,1,de,4,ensemble,kmnist,test,far,msp,auroc,sklearn,,0.9,9\n",
                  "b.csv");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { size_panels(set, {"method"}, {}); }),
                  "dataset: expected one value in all rows, found kmnist, mnist");
}

// The check value of CRC-32C; and a file whose bytes follow from the format: a record is 8 + 4 +
// length + 4 bytes.
TEST_F(Figures, EventFilesHaveTheFormatOfTensorBoard) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  const auto text = event_file({{"nll", 300, 1.5, 0.25f}});
  const std::string version(
      "\x09\0\0\0\0\0\0\xf8\x3f\x1a\x0d"
      "brain.Event:2",
      24);
  EXPECT_EQ(text.substr(0, 8), std::string("\x18\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(text.substr(12, 24), version);
  const auto second = text.substr(40);
  EXPECT_EQ(
      second.substr(12, second.size() - 16),
      std::string("\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x0c\x0a\x0a\x0a\x03nll\x15\0\0\x80\x3e",
                  26));
  const auto run =
      std::filesystem::path(
          file("exp/seed-1/train.csv", kLogHeader + "0,9,1.5,0.5,0.4,\n1,9,1,0.6,0.5,0.25\n"))
          .parent_path()
          .string();
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { write_event_files({run}, {}, folder); }),
                  "provenance.json");
  file("exp/seed-1/provenance.json",
       R"({"start": "1970-01-01T01:00:00Z", "wall_s": 10, "config_hash": "h"})");
  const auto paths = write_event_files({run + "/"}, {}, folder + "/tb");
  EXPECT_EQ(paths[0], folder + "/tb/exp/seed-1/events.out.tfevents.3600.dissent");
  EXPECT_CONTAINS(read_text(paths[0]), "validation/accuracy_mean");
}

// A file that grows: the same records as one that is written at once, each epoch once, also after a
// record that was cut off and epochs that are trained again; times aside, which are those of now.
TEST_F(Figures, EventLogGrowsByWholeEpochs) {
  const std::string first = "0,9,1.5,0.5,0.4,\n", second = "1,9,1,0.6,0.5,0.25\n",
                    third = "300,9,0.5,0.7,0.6,0.125\n";
  const auto run = folder + "/run";
  const auto log = [&](const std::string& rows) { file("run/train.csv", kLogHeader + rows); };
  log(first);
  EventLog fresh(run, false);
  EXPECT_FALSE(path_exists(fresh.path()));
  fresh.append();
  const auto one = read_text(fresh.path());
  fresh.append();
  EXPECT_EQ(read_text(fresh.path()), one);
  log(first + second);
  fresh.append();
  const auto two = read_text(fresh.path());
  EXPECT_EQ(two.substr(0, one.size()), one);
  const auto bytes_of = [](int64_t step, const std::vector<std::string>& tags) {
    std::vector<Scalar> scalars;
    for (const auto& tag : tags) scalars.push_back({tag, step, 0, 0});
    return event_records(scalars).size();
  };
  const std::vector<std::string> tags{"train/steps", "train/total", "validation/accuracy_ensemble",
                                      "validation/accuracy_mean", "validation/nll"};
  EXPECT_EQ(two.size() - one.size(), bytes_of(1, tags));
  // Cut off at any byte of the last records: what is whole stays, the rest comes again.
  for (size_t cut : {two.size() - 1, two.size() - 60, one.size() + 1, one.size(), one.size() - 60,
                     size_t{45}, size_t{5}}) {
    atomic_write_text(fresh.path(), two.substr(0, cut));
    EventLog again(run, true);
    EXPECT_EQ(again.path(), fresh.path());
    EXPECT_LE(read_text(again.path()).size(), cut);
    log(first + second + third);
    again.append();
    EXPECT_EQ(read_text(again.path()).size(), two.size() + bytes_of(300, tags)) << cut;
    EXPECT_CONTAINS(read_text(again.path()), "brain.Event:2");
  }
  atomic_write_text(fresh.path(), two);
  EventLog resumed(run, true);
  resumed.append();
  EXPECT_EQ(read_text(resumed.path()).size(), two.size() + bytes_of(300, tags));
  // Trained anew: one file, from the start.
  log(first);
  EventLog anew(run, false);
  anew.append();
  EXPECT_EQ(read_text(anew.path()).size(), one.size());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(run), {}), 2);
}
