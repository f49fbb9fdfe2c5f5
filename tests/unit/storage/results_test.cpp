#include "storage/results.hpp"

#include <cmath>
#include <filesystem>

#include "self.hpp"
#include "storage/csv.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

ResultRow row_of(double value) {
  return {"sed",      "run \"a\", first", "ab12", 42,    "a2d",  5,
          "member:3", "in_val",           "test", "id",  "msp",  "accuracy",
          "sed",      "released\nall",    value,  50000, "eval", "hash"};
}

struct Results : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "rows.csv";
  std::string error(const std::string& from, const std::string& to) {
    write_results(path, {row_of(1), row_of(0.5)});
    auto text = read_text(path);
    const auto at = text.rfind(from);
    EXPECT_NE(at, std::string::npos);
    atomic_write_text(path, text.replace(at, from.size(), to));
    return error_of(ErrorKind::kData, [&] { read_results(path); });
  }
};

}  // namespace

TEST_F(Results, ComeBackTheSame) {
  const std::vector<ResultRow> rows = {row_of(0.1),    row_of(1.0 / 3),
                                       row_of(5e-324), row_of(1.7976931348623157e308),
                                       row_of(-0.0),   ResultRow{}};
  write_results(path, rows);
  EXPECT_EQ(read_results(path), rows);
  EXPECT_EQ(read_text(path).substr(0, 150),
            "experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,"
            "metric,convention,fidelity,value,n,evaluation,training_hash\nsed,\"ru");
  EXPECT_CONTAINS(read_text(path), ",\"run \"\"a\"\", first\",");
  EXPECT_CONTAINS(read_text(path), ",0.1,50000,eval,hash\n");
  write_results(path, {row_of(std::nan("")), row_of(-INFINITY)});
  EXPECT_TRUE(std::isnan(read_results(path)[0].value));
  EXPECT_EQ(read_results(path)[1].value, -INFINITY);
}

TEST_F(Results, ErrorsNameLineAndColumn) {
  EXPECT_CONTAINS(error("0.5,", "half,"),
                  "rows.csv:4: column value: expected a number, found 'half'");
  EXPECT_CONTAINS(error("0.5,50000", "0.5,50e3"),
                  "rows.csv:4: column n: expected an integer, found '50e3'");
  EXPECT_CONTAINS(error(",50000", ""),
                  "rows.csv:4: expected 18 columns as the header has, found 17");
  EXPECT_CONTAINS(error("fidelity,value", "fidelity,val"),
                  "rows.csv:1: expected a column 'value' in the header, found none");
  EXPECT_CONTAINS(error("\"released", "\"\"released"),
                  "rows.csv:4: column 14: expected quotes around the whole field");
  EXPECT_CONTAINS(error("all\"", "all"), "column 14: expected a closing quote");
}

TEST_F(Results, FilesOfEarlierVersionsLackTheEvaluation) {
  write_results(path, {row_of(1)});
  auto text = read_text(path);
  for (const std::string part : {",evaluation", ",eval"}) text.erase(text.find(part), part.size());
  atomic_write_text(path, text);
  auto expected = row_of(1);
  expected.evaluation = "";
  EXPECT_EQ(read_results(path), std::vector<ResultRow>{expected});
}

TEST_F(Results, CsvTakesCrlfAndOtherOrders) {
  const auto records = parse_csv("a,b\r\n\r\n\"x\r\ny\",\"\"\r\n,\n\"q\"", "t");
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[1].fields, (std::vector<std::string>{"x\r\ny", ""}));
  EXPECT_EQ(records[1].line, 3);
  EXPECT_EQ(records[2].fields, (std::vector<std::string>{"", ""}));
  EXPECT_EQ(records[2].line, 5);
  EXPECT_EQ(records[3].fields, (std::vector<std::string>{"q"}));
}

TEST_F(Results, AMarkAndCrlfChangeNothing) {
  write_results(path, {row_of(0.5)});
  auto text = read_text(path);
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\r\n");
  atomic_write_text(path, "\xEF\xBB\xBF" + text);
  EXPECT_EQ(read_results(path), std::vector<ResultRow>{row_of(0.5)});
}

TEST_F(Results, AFailedWriteLeavesTheOldFile) {
  write_results(path, {row_of(1)});
  {
    FileSizeLimit limit(1000);
    EXPECT_CONTAINS(error_of(ErrorKind::kData,
                             [&] { write_results(path, std::vector<ResultRow>(100, row_of(2))); }),
                    "cannot write: File too large");
  }
  EXPECT_EQ(read_results(path), std::vector<ResultRow>{row_of(1)});
  EXPECT_FALSE(std::filesystem::exists(temporary_name(path)));
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { write_results(folder / "no/such/rows.csv", {}); }),
      "cannot create: No such file or directory");
}

TEST(Bytes, ReadWell) {
  EXPECT_EQ(byte_text(12), "12 B");
  EXPECT_EQ(byte_text(int64_t{15} << 30), "15.0 GiB");
  EXPECT_EQ(byte_text(1536), "1.5 KiB");
}
