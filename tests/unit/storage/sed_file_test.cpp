// Files in SED's layout: embed f32 [N * passes, D], label f32 [.., 1], index f32 [.., 1].
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "self.hpp"
#include "storage/cache_file.hpp"
#include "storage/row_subset.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

void write_file(const std::string& path, const at::Tensor& embed, const at::Tensor& label,
                const at::Tensor& index, bool chunked = false) {
  auto file = h5_create(path);
  const std::pair<const char*, at::Tensor> columns[] = {
      {"embed", embed}, {"label", label}, {"index", index}};
  for (const auto& [name, values] : columns) {
    if (chunked) {
      UniqueHandle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
      std::vector<hsize_t> chunk(values.dim(), 1),
          shape(values.sizes().begin(), values.sizes().end());
      chunk[0] = 3;
      H5Pset_chunk(creation, values.dim(), chunk.data());
      UniqueHandle space(H5Screate_simple(values.dim(), shape.data(), nullptr), H5Sclose);
      UniqueHandle(DISSENT_H5(H5Dcreate2(file, name, h5_type(values.scalar_type()), space,
                                         H5P_DEFAULT, creation, H5P_DEFAULT),
                              path),
                   H5Dclose)
          .close(path);
    } else {
      h5_add_dataset(file, name, values.sizes(), values.scalar_type(), path);
    }
    h5_write_rows(file, name, 0, values, *self, path);
  }
  file.close(path);
}

struct SedFile : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "in_train.hdf5";
  at::Tensor embed = at::arange(21 * 4).reshape({21, 4}).to(at::kFloat);
  at::Tensor label = at::arange(21).remainder(7).remainder(3).to(at::kFloat).unsqueeze(1);
  at::Tensor index = at::arange(21).remainder(7).to(at::kFloat).unsqueeze(1);
  std::string open_error() {
    write_file(path, embed, label, index);
    return error_of(ErrorKind::kData, [&] { FeatureCache::open(path); });
  }
};

}  // namespace

TEST_F(SedFile, PassesComeFromWhereIndexRestarts) {
  for (const bool chunked : {false, true}) {
    write_file(path, embed, label, index, chunked);
    const auto cache = FeatureCache::open(path);
    EXPECT_EQ(cache.passes(), 3);
    EXPECT_EQ(cache.rows_per_pass(), 7);
    EXPECT_EQ(cache.dim(), 4);
    EXPECT_EQ(cache.classes(), 3);
    EXPECT_EQ(cache.concurrent_reads(), !chunked);
    EXPECT_TRUE(at::equal(cache.read_rows(5, 10), embed.narrow(0, 5, 10)));
    EXPECT_TRUE(at::equal(cache.read_labels(0, 21), label.squeeze(1).to(at::kLong)));
    EXPECT_TRUE(at::equal(cache.read_index(0, 21), index.squeeze(1).to(at::kLong)));
    cache.verify();
  }
}

TEST_F(SedFile, ShuffledPassesKeepTheirIndex) {
  auto order = at::tensor({4, 0, 6, 1, 5, 3, 2}, at::kFloat);
  index = at::cat({order, order, order}).unsqueeze(1);
  write_file(path, embed, label, index);
  const auto cache = FeatureCache::open(path);
  EXPECT_EQ(cache.passes(), 3);
  EXPECT_TRUE(at::equal(cache.read_index(7, 7), order.to(at::kLong)));
}

// As f32, 2^24 + 1 is stored as 2^24: the positions are counted.
TEST_F(SedFile, PositionsPastTheExactFloatsAreCounted) {
  const int64_t start = (int64_t{1} << 24) - 3;
  index = (at::arange(21, at::kLong).remainder(7) + start).to(at::kFloat).unsqueeze(1);
  write_file(path, embed, label, index);
  const auto cache = FeatureCache::open(path);
  EXPECT_EQ(cache.passes(), 3);
  EXPECT_TRUE(at::equal(cache.read_index(0, 21), at::arange(21, at::kLong).remainder(7) + start));
  index[1][0] = 0x1p24 + 8;
  EXPECT_CONTAINS(open_error(), "or below 2^24");
}

TEST_F(SedFile, LabelsThatAreNotWhole) {
  label[9][0] = 1.5;
  EXPECT_CONTAINS(open_error(),
                  "in_train.hdf5: label of row 9: expected a whole number, found 1.5");
  label[9][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_CONTAINS(open_error(), "label of row 9: expected a whole number, found nan");
}

TEST_F(SedFile, PassesOfDifferentLength) {
  embed = embed.narrow(0, 0, 20).clone(), label = label.narrow(0, 0, 20).clone(),
  index = index.narrow(0, 0, 20).clone();
  EXPECT_CONTAINS(
      open_error(),
      "index: expected passes of equal length, found it restarting at rows 0, 7, 14 of 20");
}

TEST_F(SedFile, DatasetsThatDoNotFit) {
  label = label.narrow(0, 0, 20).clone();
  EXPECT_CONTAINS(open_error(), "label: expected [21] or [21, 1]");
  label = at::zeros({21});
  embed = embed.to(at::kDouble);
  EXPECT_CONTAINS(open_error(), "embed: expected f32, f16 or bf16, found Double");
  embed = at::zeros({21});
  EXPECT_CONTAINS(open_error(), "embed: expected [rows, D], found [21]");
}

TEST_F(SedFile, TruncatedFile) {
  write_file(path, embed, label, index);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 16);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { FeatureCache::open(path); }),
      "in_train.hdf5: expected an HDF5 file, found one that HDF5 cannot open: truncated file");
}

TEST_F(SedFile, SubsetsFilterEveryPassByIndex) {
  write_file(path, embed, label, index);
  const auto cache = FeatureCache::open(path);
  const auto rows_of = [](const RowSelection& selection) {
    std::vector<int64_t> rows;
    for (const auto& range : selection.ranges)
      for (int64_t i = 0; i < range.count; ++i) rows.push_back(range.first + i);
    return rows;
  };
  atomic_write_text(folder / "list.txt",
                    "\xEF\xBB\xBF"
                    "5\n# kept\n\n 1 # one\r\n2");
  const auto subset = read_row_subset(folder / "list.txt", false);
  auto selection = select_rows(cache, 0, 3, subset);
  EXPECT_EQ(rows_of(selection), (std::vector<int64_t>{1, 2, 5, 8, 9, 12, 15, 16, 19}));
  EXPECT_EQ(selection.rows_per_pass, 3);
  EXPECT_EQ(selection.ranges.size(), 6u);
  selection = select_rows(cache, 1, 2, read_row_subset(folder / "list.txt", true));
  EXPECT_EQ(rows_of(selection), (std::vector<int64_t>{7, 10, 11, 13, 14, 17, 18, 20}));
  EXPECT_EQ(rows_of(all_rows(cache)).size(), 21u);
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { select_rows(cache, 2, 2); }),
                  "passes: expected a range inside 0 .. 2, found 2 .. 3");
}

TEST_F(SedFile, BadSubsets) {
  write_file(path, embed, label, index);
  const auto cache = FeatureCache::open(path);
  const auto error = [&](const std::string& text, bool complement) {
    atomic_write_text(folder / "list.txt", text);
    return error_of(ErrorKind::kData, [&] {
      select_rows(cache, 0, 3, read_row_subset(folder / "list.txt", complement));
    });
  };
  EXPECT_CONTAINS(error("1\n7\n", false), "list.txt: expected positions of");
  EXPECT_CONTAINS(error("1\n7\n", true), "list.txt: expected positions of");
  EXPECT_CONTAINS(error("1\n2\n1\n", false),
                  "list.txt:3: expected each position once, found 1 also in line 1");
  EXPECT_CONTAINS(error("1\n-2\n", false),
                  "list.txt:2: expected a position (an integer >= 0), found '-2'");
  EXPECT_CONTAINS(error("1\n2.0\n", false),
                  "list.txt:2: expected a position (an integer >= 0), found '2.0'");
  EXPECT_CONTAINS(error("# nothing\n", false), "expected a list that selects at least one row of");
  EXPECT_CONTAINS(error("0\n1\n2\n3\n4\n5\n6\n", true),
                  "expected a list that leaves at least one row of");
}
