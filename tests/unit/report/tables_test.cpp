#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "report/arguments.hpp"
#include "report/layouts.hpp"
#include "report/table_text.hpp"
#include "unit/report/texts.hpp"

using namespace dissent;
using namespace dissent::report;
using dissent::testing::error_of;

namespace {

std::string published(const std::string& name) {
  const std::string path =
      std::string(std::getenv("DISSENT_SOURCE_DIR")) + "/results/published/" + name;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::string kHeader =
    "experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,metric,"
    "convention,fidelity,value,n\n";

// A row: what the tests vary.
std::string row(const std::string& method, int seed, const std::string& dataset,
                const std::string& shift, const std::string& score, const std::string& metric,
                double value, const std::string& convention = "sklearn") {
  return fmt::format("e,seed-{0},h,{0},{1},5,ensemble,{2},test,{3},{4},{5},{6},,{7},100\n", seed,
                     method, dataset, shift, score, metric, convention, value);
}

ResultSet set_of(const std::string& rows) {
  ResultSet set;
  add_result_text(set, kHeader + rows, "a.csv");
  merge_equal_rows(set);
  return set;
}

// The published values of one model, with C-1 and C-5 taken apart: 15 values whose mean is the
// published one.
std::string split_corruptions(const std::string& text) {
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const int severity = line.find(",C-1,") != std::string::npos   ? 1
                         : line.find(",C-5,") != std::string::npos ? 5
                                                                   : 0;
    if (severity == 0) {
      out += line + "\n";
      continue;
    }
    const auto tail = line.rfind(','), head = line.rfind(',', tail - 1);
    const double value = std::stod(line.substr(head + 1));
    const auto names = corruption_names(severity);
    for (size_t i = 0; i < names.size(); ++i) {
      auto one = line.substr(0, head + 1) +
                 fmt::format("{:.17g}", value + 1e-3 * (static_cast<double>(i) - 7)) +
                 line.substr(tail);
      out += one.replace(one.find(fmt::format(",C-{},", severity)), 5, "," + names[i] + ",") + "\n";
    }
  }
  return out;
}

Table table_of(const std::string& rows, const std::string& layout, TableOptions options = {}) {
  return build_table(set_of(rows), find_layout(layout), options);
}

std::string near_rows(const std::string& method, int seed, double value) {
  return row(method, seed, "cifar100", "near", "msp", "auroc", value) +
         row(method, seed, "tin", "near", "msp", "auroc", value + 0.1);
}

}  // namespace

// Result files as spreadsheets and editors save them, and other files, below one folder.
TEST(Tables, AFolderOfResultsAndOtherFiles) {
  namespace fs = std::filesystem;
  const auto folder = fs::temp_directory_path() / fmt::format("dissent_results_{}", ::getpid());
  fs::remove_all(folder);
  fs::create_directories(folder / "seed-1");
  const auto put = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  };
  const auto read = [&] { return read_result_files({folder.string()}); };
  put("seed-1/train.csv", "epoch,loss\n0,1\n");
  put("roc.csv", "kind,series,x,y\nroc,a,0,0\n");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, read),
                  "expected a result file below this folder, found none");
  put("marked.csv", "\xEF\xBB\xBF" + kHeader + row("de", 1, "tin", "near", "msp", "auroc", 0.5));
  auto crlf = kHeader + row("de", 2, "tin", "near", "msp", "auroc", 0.5);
  for (size_t at = 0; (at = crlf.find('\n', at)) != std::string::npos; at += 2)
    crlf.replace(at, 1, "\r\n");
  put("crlf.csv", crlf);
  auto set = read();
  EXPECT_EQ(set.rows.size(), 2u);
  EXPECT_EQ(set.rows[0].field("n"), "100");
  EXPECT_TRUE(set.skipped.empty());  // those are this program's own
  put("foreign.csv", "a,\"b\nc\"d\n\"");
  put("empty.csv", "");
  put("renamed.csv", "E" + kHeader.substr(1) + row("de", 3, "tin", "near", "msp", "auroc", 0.5));
  set = read();
  EXPECT_EQ(set.rows.size(), 2u);
  EXPECT_EQ(set.skipped, (std::vector<std::string>{(folder / "empty.csv").string(),
                                                   (folder / "foreign.csv").string(),
                                                   (folder / "renamed.csv").string()}));
  // A result file that cannot be read is none of them: it says why.
  auto semicolons = kHeader + row("de", 4, "tin", "near", "msp", "auroc", 0.5);
  std::replace(semicolons.begin(), semicolons.end(), ',', ';');
  put("saved.csv", semicolons);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, read),
                  "saved.csv:1: expected columns separated by commas, found semicolons");
  std::string wide = "\xFF\xFE";
  for (const char c : kHeader) wide += {c, '\0'};
  put("saved.csv", wide);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, read),
                  "saved.csv: expected text in UTF-8, found the mark of UTF-16");
  put("saved.csv", kHeader + "e,\"");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, read),
                  "saved.csv:2: column 2: expected a closing quote");
  fs::remove_all(folder);
}

// Both tables of SED's release come back byte for byte, from C-1 and C-5 as published and from 15
// values each.
TEST(Tables, ReproduceThePublishedOnes) {
  for (const bool split : {false, true}) {
    ResultSet set;
    add_result_text(set, split ? split_corruptions(published("sed.csv")) : published("sed.csv"),
                    "sed.csv");
    merge_equal_rows(set);
    EXPECT_EQ(set.rows.size(), split ? 172u + 14 * 56 : 172u);
    EXPECT_EQ(released_text(build_table(set, find_layout("sed_released_generalisation"), {}), {}),
              published("filled_ood_gen_df.csv"));
    EXPECT_EQ(released_text(build_table(set, find_layout("sed_released_detection"), {}), {}),
              published("filled_ood_det_df.csv"));
  }
}

TEST(Tables, MeanDeviationAndCountOverSeeds) {
  std::string rows;
  for (const auto& [seed, value] : {std::pair(1, 0.5), {2, 0.7}, {4, 0.9}})
    rows += row("de", seed, "in_val", "id", "", "accuracy", value);
  const auto set = set_of(rows + row("de", 9, "in_val", "id", "", "accuracy", 0.1));
  const auto table = build_table(set, find_layout("sed_generalisation"),
                                 {.seeds = seed_list("--seeds", "1..5"), .where = {}});
  const auto& cell = table.cells[0][0];
  EXPECT_NEAR(cell.mean(), 70, 1e-12);
  EXPECT_NEAR(*cell.deviation(1), 20, 1e-12);  // (400 + 0 + 400) / 2
  EXPECT_NEAR(*cell.deviation(0), std::sqrt(800.0 / 3), 1e-12);
  EXPECT_EQ(cell.missing, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(table.left_out, std::vector<int64_t>{9});
  const auto text = table_text(table, {}, nullptr);
  EXPECT_CONTAINS(text, "| 70.0 ± 20.0 (n=3 of 5) |");
  EXPECT_CONTAINS(text, "- (n=0 of 5)");
  EXPECT_CONTAINS(text, "val (seed 3, 5); A (seed 1, 2, 3, 4, 5)");
  EXPECT_CONTAINS(text, "Left out: unexpected seeds 9");
  EXPECT_CONTAINS(table_text(table, {.format = TableFormat::kCsv}, nullptr),
                  "e,de,5,ensemble,70,20,3,3 5,,,0,1 2 3 4 5");
  EXPECT_FALSE(table_of(row("de", 1, "in_val", "id", "", "accuracy", 0.5), "sed_generalisation")
                   .cells[0][0]
                   .deviation(1));
}

// A mean over data sets needs all of them for a seed: one that lacks a set is missing, and the text
// says which.
TEST(Tables, AMeanOverSetsNeedsAllOfThem) {
  const auto rows = near_rows("de", 1, 0.6) + near_rows("de", 2, 0.7) +
                    row("de", 3, "tin", "near", "msp", "auroc", 0.9) +
                    row("sdde", 1, "cifar100", "near", "msp", "auroc", 0.9);
  const auto table = table_of(rows, "sdde");
  EXPECT_NEAR(table.cells[0][0].mean(), 70, 1e-12);  // of 65 and 75
  EXPECT_EQ(table.cells[0][0].missing, std::vector<int64_t>{3});
  EXPECT_TRUE(table.cells[1][0].values.empty());
  const auto text = table_text(table, {}, nullptr);
  EXPECT_CONTAINS(text, "near (%) (seed 3) [seed 3 lacks cifar100]");
  EXPECT_CONTAINS(text, "[seed 1 lacks tin]");
}

// Figures without a score are repeated for every score of their row.
TEST(Tables, SddeTakesCalibrationForEachScore) {
  std::string rows = row("sdde", 1, "cifar10", "id", "", "accuracy", 0.95) +
                     row("sdde", 1, "cifar10", "id", "", "ece", 0.012) +
                     row("sdde", 1, "cifar10", "id", "", "nll", 0.2);
  for (const char* score : {"minmax", "msp"})
    rows += row("sdde", 1, "tin", "near", score, "auroc", 0.9) +
            row("sdde", 1, "svhn", "far", score, "auroc", 0.95);
  const auto other = row("de", 1, "cifar10", "id", "", "accuracy", 0.94);
  const auto table = table_of(rows + other, "sdde");
  ASSERT_EQ(table.names.size(), 3u);
  EXPECT_EQ(table.names[0], (std::vector<std::string>{"e", "de", "5", ""}));
  EXPECT_EQ(table.names[1][3], "minmax");
  for (const size_t r : {1, 2}) {
    EXPECT_NEAR(table.cells[r][2].mean(), 95, 1e-12);
    EXPECT_NEAR(table.cells[r][4].mean(), 1.2, 1e-12);
  }
  // After temperature scaling: columns of their own, no row of its own.
  const auto scaled =
      table_of(rows + other + row("sdde", 1, "cifar10", "id", "temperature", "ece", 0.007), "sdde");
  EXPECT_EQ(scaled.names, table.names);
  ASSERT_EQ(scaled.layout.columns.size(), 7u);
  EXPECT_EQ(scaled.layout.columns[6].name, "ECE, T (%)");
  EXPECT_NEAR(scaled.cells[2][6].mean(), 0.7, 1e-12);
  EXPECT_NEAR(scaled.cells[2][4].mean(), 1.2, 1e-12);
  EXPECT_EQ(scaled.cells[0][6].missing, std::vector<int64_t>{1});
  const auto latex = table_text(table, {.format = TableFormat::kLatex}, nullptr);
  EXPECT_CONTAINS(latex, "near (\\%) & far (\\%) & accuracy (\\%)");
  EXPECT_CONTAINS(
      latex, "e & sdde & 5 & minmax & 90.00 & 95.00 & 95.00 & 0.2000 & 1.20 & -- (n=0 of 1) \\\\");
}

// Each shifted set is a row; the in-distribution set and the mean over members are none.
TEST(Tables, SddeOnCorruptedImages) {
  std::string rows = row("sdde", 1, "cifar10", "id", "", "accuracy", 0.95);
  for (const char* set : {"C-1", "C-5"})
    rows += row("sdde", 1, set, "covariate", "", "accuracy", set[2] == '1' ? 0.9 : 0.7) +
            row("sdde", 1, set, "covariate", "", "ece", 0.04) +
            row("sdde", 1, set, "covariate", "temperature", "ece", 0.01);
  const auto table = table_of(rows, "sdde_corrupted");
  ASSERT_EQ(table.names.size(), 2u);
  EXPECT_EQ(table.names[1], (std::vector<std::string>{"e", "sdde", "5", "C-5"}));
  EXPECT_NEAR(table.cells[1][0].mean(), 70, 1e-12);
  EXPECT_NEAR(table.cells[0][2].mean(), 4, 1e-12);
  const auto& columns = table.layout.columns;
  const auto scaled = std::find_if(columns.begin(), columns.end(),
                                   [](const auto& column) { return column.name == "ECE, T (%)"; });
  ASSERT_NE(scaled, columns.end());
  EXPECT_NEAR(table.cells[0][scaled - columns.begin()].mean(), 1, 1e-12);
}

TEST(Tables, OpenOodHasItsColumnsAndMeans) {
  std::string rows = row("de", 1, "cifar10", "id", "", "accuracy", 0.9522);
  double value = 0.8;
  for (const auto& [dataset, shift] :
       {std::pair("tin", "near"), {"cifar100", "near"}, {"svhn", "far"}})
    for (const char* metric : {"fpr95", "auroc", "aupr_in", "aupr_out"})
      rows += row("de", 1, dataset, shift, "msp", metric, value += 0.01);
  EXPECT_EQ(released_text(table_of(rows, "openood"), {}),
            "dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\ncifar100,85.00,86.00,87.00,88.00,95."
            "22\ntin,81.00,82.00,83.00,84.00,95.22\nnearood,83.00,84.00,85.00,86.00,95.22\n"
            "svhn,89.00,90.00,91.00,92.00,95.22\nfarood,89.00,90.00,91.00,92.00,95.22\n");
  const auto more = rows + row("de", 2, "svhn", "far", "msp", "fpr95", 0.91);
  EXPECT_CONTAINS(released_text(table_of(more, "openood"), {}),
                  "svhn,90.00 ± 1.41,90.00 (n=1 of 2),");

  // Of the members instead of the ensemble, where that is asked for.
  std::string members = rows;
  for (size_t at = 0; (at = members.find(",ensemble,", at)) != std::string::npos;)
    members.replace(at, 10, ",mean,");
  EXPECT_EQ(error_of(ErrorKind::kData, [&] { table_of(members, "openood"); }),
            "layout openood: expected rows of its predictor (ensemble, or --where "
            "predictor=NAME) with shift near or far, found none");
  EXPECT_EQ(released_text(table_of(members, "openood", {.where = {{"predictor", {"mean"}}}}), {}),
            released_text(table_of(rows, "openood"), {}));
}

TEST(Tables, TwoValuesOfACellAreAnError) {
  const auto one = near_rows("de", 1, 0.6);
  const auto message = error_of(ErrorKind::kUsage, [&] {
    table_of(one + row("de", 1, "tin", "near", "msp", "auroc", 0.4, "sdde"), "sdde");
  });
  EXPECT_CONTAINS(message,
                  "a.csv:3 and a.csv:4: two values for row (e, de, 5, msp), column near (%) of "
                  "tin, seed 1; they differ in convention ('sklearn' and 'sdde')");
  EXPECT_CONTAINS(message, "--where convention=");
  const auto narrowed =
      table_of(one + row("de", 1, "tin", "near", "msp", "auroc", 0.4, "sdde"), "sdde",
               {.seeds = {}, .where = conditions({"convention=sklearn"})});
  EXPECT_NEAR(narrowed.cells[0][0].mean(), 65, 1e-12);
}

TEST(Tables, FilesThatContradictEachOtherAreNamed) {
  ResultSet set;
  add_result_text(set, kHeader + near_rows("de", 1, 0.6), "old.csv");
  add_result_text(set, kHeader + near_rows("de", 1, 0.6), "same.csv");
  merge_equal_rows(set);
  EXPECT_EQ(set.rows.size(), 2u);
  add_result_text(set, kHeader + near_rows("de", 1, 0.61), "new.csv");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { merge_equal_rows(set); }),
                  "old.csv:2 and new.csv:2: the same row with two values, 0.6 and 0.61");
}

// Columns in another order, and ones that are not known, are read; a choice on test data is marked.
TEST(Tables, UnknownColumnsAreKept) {
  ResultSet set;
  add_result_text(set,
                  "selection,value,n,experiment,run,config_hash,seed,method,members,predictor,"
                  "dataset,split,shift,score,metric,convention,fidelity\n"
                  "test,0.9,10,e,r,h,1,de,5,best,in_val,test,id,,accuracy,sed,\n",
                  "b.csv");
  const auto text =
      table_text(build_table(set, find_layout("sed_generalisation"), {}), {}, nullptr);
  EXPECT_CONTAINS(text, "90.0†");
  EXPECT_CONTAINS(text, "† chosen on test data.");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage,
                           [&] {
                             build_table(set, find_layout("sed_generalisation"),
                                         {.seeds = {}, .where = conditions({"datset=a"})});
                           }),
                  "fidelity; did you mean 'dataset'?");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { add_result_text(set, "a,b\n1,2\n", "c.csv"); }),
                  "c.csv:1: not a result file: expected a column 'experiment', found none");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [] { find_layout("sed_detecton"); }),
                  "did you mean 'sed_detection'?");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [] { seed_list("--seeds", "1..x"); }),
                  "--seeds: expected numbers such as 1..5");
}

TEST(Tables, PublishedFiguresStandBesideOurs) {
  ResultSet theirs;
  add_result_text(theirs, published("sed.csv"), "sed.csv");
  const auto ours = table_of(row("a2d", 42, "iNaturalist", "semantic", "pds", "auroc", 0.94) +
                                 row("a2d", 43, "inat", "semantic", "pds", "auroc", 0.95),
                             "sed_detection");
  const auto other = build_table(theirs, find_layout("sed_detection"), {});
  const auto beside = match_published(ours, other, {{"e", "sed_ood_det_covariate"}}, "sed.csv");
  const auto text = table_text(ours, {}, &beside);
  EXPECT_CONTAINS(text, "| published  |");
  EXPECT_CONTAINS(text, "0.945 ± 0.007 |");
  EXPECT_CONTAINS(text, "+0.013 |");
  EXPECT_CONTAINS(table_text(ours, {.format = TableFormat::kCsv}, &beside), ",0.932022101,");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { match_published(ours, other, {{"e", "none"}}, ""); }),
      "expected an experiment of the published values, found 'none'");
}

// Rows of one training on MNIST's sets, seeds 1 and 2, by two scores.
std::string mnist_rows(const std::string& experiment, const std::string& method) {
  std::string text;
  for (int seed = 1; seed <= 2; ++seed)
    for (const char* score : {"average", "minmax"})
      for (const auto& [dataset, shift] : {std::pair("notmnist", "near"),
                                           {"fashionmnist", "near"},
                                           {"texture", "far"},
                                           {"places365", "far"}}) {
        auto line = row(method, seed, dataset, shift, score, "auroc", 0.9 + 0.01 * seed, "sdde");
        text += experiment + line.substr(line.find(','));
      }
  return text;
}

// SDDE publishes means over near and far sets with deviations over seeds, one score a method.
TEST(Tables, PublishedMeansOfSddeStandBesideOurs) {
  ResultSet theirs;
  add_result_text(theirs, published("sdde.csv"), "sdde.csv");
  const auto layout = find_layout("sdde");
  const auto other = build_table(theirs, layout, {});
  const auto ours = table_of(mnist_rows("sdde_mnist_de", "cross_entropy") +
                                 mnist_rows("sdde_mnist_gradcam", "cross_entropy+gradcam"),
                             "sdde");
  const auto beside = match_published(ours, other, {}, "sdde.csv");
  ASSERT_EQ(ours.names.size(), 4u);
  for (size_t r = 0; r < 4; ++r) {
    const bool sdde = ours.names[r][1] != "cross_entropy";
    if (ours.names[r][3] != (sdde ? "minmax" : "average")) {
      EXPECT_TRUE(std::isnan(beside.values[r][0]));
      continue;
    }
    EXPECT_NEAR(beside.values[r][0], sdde ? 96.56 : 92.45, 1e-9);
    EXPECT_NEAR(beside.values[r][1], sdde ? 99.88 : 98.34, 1e-9);
    EXPECT_NEAR(beside.deviations[r][0], sdde ? 0.67 : 0.60, 1e-9);
    EXPECT_TRUE(std::isnan(beside.values[r][2]));  // the accuracy could not be read
  }
  const auto text = table_text(ours, {}, &beside);
  EXPECT_CONTAINS(text, "| 96.56 ± 0.67 | 99.88 ± 0.02 |");
  EXPECT_CONTAINS(text, "|        -5.06 |        -8.38 |");
  EXPECT_CONTAINS(text, "Published values: sdde.csv, with their published deviations");
  EXPECT_CONTAINS(table_text(ours, {.format = TableFormat::kCsv}, &beside),
                  "near (%) published deviation");
  // An experiment that nobody published.
  const auto none = table_of(mnist_rows("sdde_mnist", "cross_entropy"), "sdde");
  const auto nothing = match_published(none, other, {}, "sdde.csv");
  EXPECT_TRUE(std::isnan(nothing.values[0][0]));
  EXPECT_CONTAINS(table_text(none, {}, &nothing), "sdde.csv has none for these rows");
}

// Every figure says where it was read; what could not be read is empty and is passed over.
TEST(Tables, PublishedFiguresOfSddeNameTheirSource) {
  ResultSet theirs;
  add_result_text(theirs, published("sdde.csv"), "sdde.csv");
  EXPECT_EQ(theirs.rows.size(), 30u);
  for (const auto& row : theirs.rows) {
    EXPECT_FALSE(row.field("source").empty() || row.field("row").empty() ||
                 row.field("deviation").empty())
        << row.place;
    EXPECT_TRUE(row.value > 0.8 && row.value < 1) << row.place;
  }
  EXPECT_CONTAINS(published("sdde.csv"), "sdde_imagenet_gradcam,,,0,");
  // Elsewhere an empty value is an error.
  EXPECT_CONTAINS(error_of(ErrorKind::kData,
                           [] {
                             ResultSet set;
                             add_result_text(set,
                                             kHeader + "e,r,h,1,m,5,ensemble,a,test,id,,nll,,,,9\n",
                                             "a.csv");
                           }),
                  "a.csv:2: column value: expected a number, found ''");
}

TEST(Tables, PivotByAnyColumns) {
  const auto set =
      set_of(near_rows("de", 1, 0.6) + near_rows("sdde", 1, 0.7) + near_rows("sdde", 2, 0.8));
  const auto layout = pivot_layout(set, {"method"}, {"dataset", "metric"}, {}, 100, 1);
  const auto table = build_table(set, layout, {});
  const auto text = table_text(table, {.format = TableFormat::kMarkdown}, nullptr);
  EXPECT_CONTAINS(text, "| method | cifar100 auroc |  tin auroc |");
  EXPECT_CONTAINS(text, "| de     |           60.0 |       70.0 |");
  EXPECT_CONTAINS(text, "| sdde   |     75.0 ± 7.1 | 85.0 ± 7.1 |");
}

// Numbers by size before other texts, which are sorted by their bytes: one order of any mixture.
TEST(Tables, RowsOfNumbersAndTextsHaveOneOrder) {
  std::string rows;
  for (const char* method : {"1a", "10", "b", "9", "a", "1e1"}) rows += near_rows(method, 1, 0.5);
  const auto set = set_of(rows);
  const auto table =
      build_table(set, pivot_layout(set, {"method"}, {"dataset", "metric"}, {}, 1, 1), {});
  const auto text = table_text(table, {.format = TableFormat::kCsv}, nullptr);
  size_t last = 0;
  for (const char* method : {"\n9,", "\n10,", "\n1e1,", "\n1a,", "\na,", "\nb,"}) {
    const auto at = text.find(method);
    ASSERT_NE(at, std::string::npos) << method << text;
    EXPECT_GT(at, last) << method << text;
    last = at;
  }
}

namespace {

// Rows of one experiment, with the run's folder and configuration.
std::string run_row(const std::string& run, const std::string& hash, int seed, double value) {
  return fmt::format("e,{},{},{},m,5,ensemble,d,test,semantic,pds,auroc,sed,,{},9\n", run, hash,
                     seed, value);
}

Layout one_column() {
  return {"l", "", "", {"experiment"}, {{.name = "d", .where = {{"metric", {"auroc"}}}}}, {}};
}

}  // namespace

TEST(PartedRows, ByTheFirstColumnThatTellsThemApartAndKeepsSeeds) {
  const auto names = [](const std::string& rows, TableOptions options = {}) {
    const auto table = build_table(set_of(rows), one_column(), options);
    std::vector<std::string> text;
    for (const auto& name : table.names) text.push_back(fmt::format("{}", fmt::join(name, "/")));
    return text;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(run_row("seed-1", "a", 1, 0.5) + run_row("seed-2", "a", 2, 0.6)), Names{"e"});
  EXPECT_EQ(names(run_row("x", "a", 1, 0.5) + run_row("y", "a", 1, 0.6)), (Names{"e/x", "e/y"}));
  EXPECT_EQ(names(run_row("seed-1", "a", 1, 0.5) + run_row("seed-1", "b", 1, 0.7)),
            (Names{"e/a", "e/b"}));
}

// Folders are named by seed, and the hash of a run's configuration has its seed: both would part
// the seeds of one training.
TEST(PartedRows, TrainingsOfSeveralSeedsByTheirConfigurationWithoutTheSeed) {
  const auto with_training = [](std::string row, const std::string& training) {
    return row.insert(row.size() - 1, ",eval," + training);
  };
  const std::string rows = with_training(run_row("seed-1", "a1", 1, 0.5), "a") +
                           with_training(run_row("seed-2", "a2", 2, 0.6), "a") +
                           with_training(run_row("seed-1", "b1", 1, 0.7), "b") +
                           with_training(run_row("seed-2", "b2", 2, 0.8), "b");
  auto header = kHeader;
  ResultSet set;
  add_result_text(set, header.insert(header.size() - 1, ",evaluation,training_hash") + rows,
                  "a.csv");
  merge_equal_rows(set);
  const auto table = build_table(set, one_column(), {});
  ASSERT_EQ(table.names.size(), 2u);
  EXPECT_EQ(table.names[0], (std::vector<std::string>{"e", "a"}));
  EXPECT_NEAR(table.cells[0][0].mean(), 0.55, 1e-12);
  EXPECT_NEAR(table.cells[1][0].mean(), 0.75, 1e-12);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { build_table(set, one_column(), {.part_rows = false}); }),
      "a.csv:2 and a.csv:4: two values for row (e), column d, seed 1; they differ in "
      "training_hash ('a' and 'b'); choose one with --where training_hash=..., or name the column "
      "in --rows");
}

// An evaluation of before the column was there is next to a later one of more sets: its rows are
// of the same trainings, whichever file is read first.
TEST(PartedRows, RowsOfEarlierVersionsBelongToTheTrainingOfTheirRun) {
  const auto old_row = [](const std::string& hash, int seed, double value) {
    return run_row(fmt::format("seed-{}", seed), hash, seed, value);
  };
  const auto on = [](std::string row, const std::string& dataset, const std::string& training) {
    row.replace(row.find(",d,"), 3, "," + dataset + ",");
    return row.insert(row.size() - 1, ",," + training);
  };
  std::string before = kHeader, after = kHeader;
  after.insert(after.size() - 1, ",evaluation,training_hash");
  const std::vector<std::string> hashes{"a1", "a2", "b1", "b2"};
  for (size_t i = 0; i < hashes.size(); ++i) {
    const auto row = old_row(hashes[i], 1 + static_cast<int>(i % 2), 0.1 * static_cast<double>(i));
    before += row;
    after += on(row, "d", hashes[i].substr(0, 1)) + on(row, "more", hashes[i].substr(0, 1));
  }
  auto layout = one_column();
  layout.columns[0].where.push_back({"dataset", {"d"}});
  for (const bool old_first : {true, false}) {
    ResultSet set;
    add_result_text(set, old_first ? before : after, "x.csv");
    add_result_text(set, old_first ? after : before, "y.csv");
    merge_equal_rows(set);
    const auto table = build_table(set, layout, {});
    ASSERT_EQ(table.names.size(), 2u);
    EXPECT_EQ(table.names[0], (std::vector<std::string>{"e", "a"}));
    EXPECT_NEAR(table.cells[0][0].mean(), 0.05, 1e-12);
    EXPECT_NEAR(table.cells[1][0].mean(), 0.25, 1e-12);
  }
}

// A seed whose value is not a number is neither dropped nor hidden: the mean is none, and the seed
// is named.
TEST(Tables, ASeedThatIsNotANumberIsNamed) {
  std::string rows;
  for (const auto& [seed, value] : {std::pair(1, 0.5), {2, std::nan("")}, {3, 0.7}})
    rows += row("de", seed, "in_val", "id", "", "accuracy", value);
  for (const int seed : {1, 2, 3}) rows += row("sed", seed, "in_val", "id", "", "accuracy", 0.5);
  const auto table = table_of(rows, "sed_generalisation");
  const auto markdown = table_text(table, {}, nullptr);
  EXPECT_NE(markdown.find("NaN |"), std::string::npos) << markdown;
  EXPECT_EQ(markdown.find("± -"), std::string::npos) << markdown;
  EXPECT_NE(markdown.find(
                "Not finite (NaN or infinite, as is the mean over seeds): e de 5 ensemble: val"),
            std::string::npos)
      << markdown;
  EXPECT_NE(markdown.find("(seed 2)"), std::string::npos) << markdown;
  EXPECT_EQ(markdown.find("over seeds): sed"), std::string::npos) << markdown;
  EXPECT_NE(table_text(table, {.format = TableFormat::kCsv}, nullptr).find(",nan,"),
            std::string::npos);
}
