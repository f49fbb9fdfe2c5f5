#include "jobs/sheet.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "unit/jobs/made_jobs.hpp"

using namespace dissent;
using namespace dissent::jobs;

namespace {

std::vector<std::string> names(const std::vector<SheetRow>& rows) {
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(row.name);
  return out;
}

std::vector<std::string> values(const Sheet& sheet, const std::string& column) {
  std::vector<std::string> out;
  for (const auto& row : sheet.rows) out.push_back(row.cell(column));
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST(Sheet, AlternativesAndRangesGiveTheirProductLeftmostSlowest) {
  const auto sheet = parse_sheet(
      "s.csv", "verb,config,set:loss.a2d.weight,set:seeds\ntrain,a.toml,{0.1 | 0.5},[{1..3}]\n");
  EXPECT_EQ(values(sheet, "set:loss.a2d.weight"),
            (Texts{"0.1", "0.1", "0.1", "0.5", "0.5", "0.5"}));
  EXPECT_EQ(values(sheet, "set:seeds"), (Texts{"[1]", "[2]", "[3]", "[1]", "[2]", "[3]"}));
  EXPECT_EQ(sheet.rows[4].name, "train-a-0.5-2");
  EXPECT_EQ(sheet.rows[4].group, "train-a");
}

TEST(Sheet, RangesHaveStepsAndMayBeNegative) {
  const auto sheet =
      parse_sheet("s.csv", "verb,x\nv,{-2..0}\nw,{10..50..20}\nu,{7..7}\nt,{0..9..4}\n");
  EXPECT_EQ(values(sheet, "x"), (Texts{"-2", "-1", "0", "10", "30", "50", "7", "0", "4", "8"}));
}

TEST(Sheet, ARangeUpToTheLargestIntegerEnds) {
  const auto sheet = parse_sheet("s.csv", "verb,x\nv,{9223372036854775806..9223372036854775807}\n");
  EXPECT_EQ(values(sheet, "x"), (Texts{"9223372036854775806", "9223372036854775807"}));
}

TEST(Sheet, AColumnMayStandInAnother) {
  const auto sheet = parse_sheet(
      "s.csv",
      "name,verb,method,config\nrun-{method},train,{de | gradcam},configs/{method}.toml\n");
  EXPECT_EQ(values(sheet, "config"), (Texts{"configs/de.toml", "configs/gradcam.toml"}));
  EXPECT_EQ(names(sheet.rows), (Texts{"run-de", "run-gradcam"}));
}

TEST(Sheet, AnEmptyAlternativeIsAnEmptyCell) {
  const auto sheet = parse_sheet("s.csv", "verb,x\nv,{ | 5}\n");
  EXPECT_EQ(values(sheet, "x"), (Texts{"", "5"}));
}

TEST(Sheet, CellsKeepCommasQuotesNewlinesShellTextAndDoubledBraces) {
  const auto sheet =
      parse_sheet("s.csv", "verb,note\r\nv,\"a,b\n\"\"c\"\" $(touch x) `y` {{z}}\"\r\n");
  EXPECT_EQ(values(sheet, "note"), (Texts{"a,b\n\"c\" $(touch x) `y` {z}"}));
}

TEST(Sheet, ASpreadsheetsByteOrderMarkIsNotPartOfAName) {
  EXPECT_EQ(parse_sheet("s.csv", "\xEF\xBB\xBFverb\nv\n").columns, (Texts{"verb"}));
}

TEST(Sheet, OtherSeparatorsAreNamed) {
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "\nname;verb;arguments\na;train;\"[\"\"x\"\", 1]\"\n"),
                   "s.csv:2: expected columns separated by commas, found semicolons");
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "\xEF\xBB\xBF\"name\"\t\"verb\"\na\ttrain\n"),
                   "s.csv:1: expected columns separated by commas, found tabs");
  // A comma that is a name's own: nothing but commas separates here.
  EXPECT_EQ(parse_sheet("s.csv", "verb,a;b\nv,1\n").columns, (Texts{"verb", "a;b"}));
}

TEST(Sheet, EmptyRowsAndEmptyColumnsOnTheRightAreNotThere) {
  const auto sheet = parse_sheet("s.csv", "verb,x,,\nv,1,,\n,,,\nw,2\n\n");
  EXPECT_EQ(sheet.columns, (Texts{"verb", "x"}));
  EXPECT_EQ(values(sheet, "x"), (Texts{"1", "2"}));
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verb,x,,\nv,1,,3\n"),
                   "s.csv:2: expected 2 cells, found 4");
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verb,,x\nv,1,2\n"),
                   "s.csv:1: expected a name for each column");
}

TEST(Sheet, EveryWrongRowIsNamedAtOnce) {
  const std::string text = "name,verb,x\na,v,{1\nb,v,{nme}\nc,v\na b,v,1\nd,v,}\ne,v,{5..1}\n";
  EXPECT_ERROR_ALL(parse_sheet("s.csv", text), "s.csv:2: x: expected a closing brace",
                   "s.csv:3: x: {nme}", "did you mean {name}?",
                   "s.csv:4: expected 3 cells, found 2", "s.csv:5: name: expected letters",
                   "s.csv:6: x: expected an opening brace",
                   "s.csv:7: x: {5..1}: expected an ascending range");
}

TEST(Sheet, ColumnsAreChecked) {
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verbs,x,x,foo:bar,set:\nv,1,2,3,4\n"),
                   "expected a column 'verb', found none; did you mean 'verbs'?",
                   "expected one column 'x', found several",
                   "expected set: or slurm: before the colon of a column, found 'foo:bar'",
                   "expected a column set:table.key or slurm:flag, found 'set:'");
  EXPECT_ERROR_ALL(parse_sheet("s.csv", ""), "found an empty file");
}

TEST(Sheet, NamesAreUnique) {
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "name,verb\na,v\na,w\n"),
                   "s.csv:3: name: expected unique names, found 'a' in line 2 too");
}

TEST(Sheet, ColumnsThatReferToEachOtherAreAnError) {
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verb,x,y\nv,{y},{x}\n"),
                   "expected columns without a cycle, found columns that refer to each other");
}

TEST(Sheet, TooManyCombinationsAreRefusedBeforeTheyAreMade) {
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verb,x,y\nv,{1..90000},{1..90000}\n"),
                   "expected at most 100000 combinations");
  EXPECT_ERROR_ALL(parse_sheet("s.csv", "verb,x\nv,{1..900000000000}\n"),
                   "expected at most 100000 values");
}

TEST(Sheet, TooManyCellsAreRefusedBeforeTheyAreMade) {
  std::string rows = "verb,x\n";
  for (int i = 0; i < 50; ++i) rows += "v,{1..60000}\n";
  EXPECT_ERROR_ALL(parse_sheet("s.csv", rows),
                   "s.csv:3: expected at most 100000 rows of 2 columns, found 120000 so far");
  std::string wide = "verb", cells = "v";
  for (int i = 0; i < 1000; ++i)
    wide += fmt::format(",c{}", i), cells += i == 0 ? ",{1..9000}" : ",";
  EXPECT_ERROR_ALL(
      parse_sheet("s.csv", wide + "\n" + cells + "\n"),
      "s.csv:2: expected at most 4000000 cells, found 9000 combinations of 1001 columns");
}

TEST(Sheet, ColumnsThatDoubleEachOtherAreRefused) {
  std::string head = "verb", cells = "v";
  for (int i = 0; i < 40; ++i)
    head += fmt::format(",c{}", i), cells += fmt::format(",{{c{}}}{{c{}}}", i + 1, i + 1);
  EXPECT_ERROR_ALL(parse_sheet("s.csv", head + ",c40\n" + cells + ",b\n"), "c",
                   "expected a cell with at most 1000 references, found more");
}

TEST(Sheet, WherePicksRowsByFreeText) {
  const auto sheet = parse_sheet(
      "s.csv",
      "name,verb,method,seed\nr-{method}-{seed},train,{de | gradcam | gradcam-oe},{1..2}\n");
  EXPECT_EQ(names(where(sheet, {"method=gradcam"})), (Texts{"r-gradcam-1", "r-gradcam-2"}));
  EXPECT_EQ(names(where(sheet, {"method=gradcam*", "seed=2"})),
            (Texts{"r-gradcam-2", "r-gradcam-oe-2"}));
  EXPECT_EQ(names(where(sheet, {"name=*-1"})).size(), 3U);
  EXPECT_ERROR_ALL(where(sheet, {"methods=de"}),
                   "expected a column of s.csv, found 'methods'; did you mean 'method'?");
  EXPECT_ERROR_ALL(where(sheet, {"method"}), "expected column=value");
}
