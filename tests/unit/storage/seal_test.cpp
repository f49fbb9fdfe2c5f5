// Damaged files: our own, of which every byte is behind a checksum, and those of other programs,
// which HDF5 may not survive.
#include "storage/seal.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ios>
#include <random>
#include <utility>

#include "self.hpp"
#include "storage/cache_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage/h5_check.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

struct SealTest : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "file.h5";

  // Writes text over a file from a byte on.
  void overwrite(int64_t position, const std::string& bytes) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(position);
    file << bytes;
  }
  int64_t size() const { return static_cast<int64_t>(std::filesystem::file_size(path)); }
  std::string open_error() const {
    return error_of(ErrorKind::kData, [&] { h5_open(path); });
  }

  // A file with a checkpoint's kinds of things; values over several blocks.
  at::Tensor values = at::arange(3 * 50000).reshape({3, 50000}).to(at::kFloat);
  void write_checkpoint() const {
    CheckpointWriter writer(*self, path, "seeds = [42]\n", "cafe",
                            {{"epoch", int64_t{3}}, {"by", "accuracy"}});
    writer.add("members/head.weight", {3, 50000}, 0, values);
    writer.add("optimizer/steps", {3}, 0, at::arange(3, at::kLong));
    writer.commit();
  }
  void read_checkpoint() const {
    const CheckpointReader reader(path);
    reader.read_slab("members/head.weight", 0, 3);
    reader.read_slab("optimizer/steps", 0, 3);
  }

  // An attribute with a text of variable length, as h5py writes str: it lies in a heap ("GCOL"),
  // which nothing of HDF5 1.10 protects.
  void write_texts() const {
    auto file = h5_create(path);
    const UniqueHandle type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
    H5Tset_size(type, H5T_VARIABLE);
    for (const char* name : {"first", "second"}) {
      const UniqueHandle attribute(H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
                                   H5Aclose);
      const char* text = "a text of 24 characters.";
      ASSERT_GE(H5Awrite(attribute, type, &text), 0);
    }
    file.close(path);
  }

  // A dataset "x" with these settings, of which nothing is written.
  void declare(const std::vector<hsize_t>& shape,
               const std::function<void(hid_t)>& settings) const {
    auto file = h5_create(path);
    const UniqueHandle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    settings(creation);
    const UniqueHandle space(
        H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
    const UniqueHandle dataset(
        H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose);
    ASSERT_TRUE(dataset.valid());
  }
  std::string info_error() const {
    return error_of(ErrorKind::kData, [&] { h5_info(h5_open(path), "x", path); });
  }
};

}  // namespace

TEST_F(SealTest, HoldsForTheWholeFileAndIsPassedOverByHdf5) {
  write_checkpoint();
  read_checkpoint();
  const auto seal = Seal::of(path);
  ASSERT_TRUE(seal);
  EXPECT_EQ(seal->datasets(), 3);  // the configuration's text too
  EXPECT_EQ(seal->blocks(), 1 + (3 * 50000 * 4 + kSealBlockBytes - 1) / kSealBlockBytes + 1);
  seal->verify();
  const UniqueHandle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  ASSERT_TRUE(file.valid());
  EXPECT_TRUE(at::equal(h5_read(file, "members/head.weight", path), values));
  // Nothing of variable length is in it.
  EXPECT_EQ(read_text(path).find("GCOL"), std::string::npos);
}

TEST_F(SealTest, EveryChangedByteOfACheckpointIsFound) {
  write_checkpoint();
  const auto whole = read_text(path);
  std::mt19937_64 random(11);
  std::vector<int64_t> places;
  for (int i = 0; i < 300; ++i)  // anywhere
    places.push_back(static_cast<int64_t>(random() % whole.size()));
  for (int i = 0; i < 300; ++i)  // before the values: HDF5's headers
    places.push_back(static_cast<int64_t>(random() % 8192));
  for (int64_t back = 1; back <= 160; back += 3) places.push_back(size() - back);  // the seal
  for (const auto place : places) {
    std::string changed(1, static_cast<char>(whole[place] ^ (1 << random() % 8)));
    overwrite(place, changed);
    const auto message = error_of(ErrorKind::kData, [&] { read_checkpoint(); });
    EXPECT_CONTAINS(message, "file.h5: ") << place;
    overwrite(place, whole.substr(place, 1));
  }
  read_checkpoint();
}

TEST_F(SealTest, EveryChangedByteOfAShardIsFound) {
  auto spec = small_spec();
  spec.passes = 1;
  const std::string cache = folder / "set.cache";
  write_cache(*self, cache, spec);
  path = cache + "/shard-00001.h5";
  const auto whole = read_text(path);
  const auto read = [&] {
    const auto opened = FeatureCache::open(cache);
    opened.read_rows(0, opened.rows());
    opened.read_labels(0, opened.rows());
    opened.read_index(0, opened.rows());
  };
  std::mt19937_64 random(12);
  for (int i = 0; i < 300; ++i) {
    const auto place = static_cast<int64_t>(random() % whole.size());
    overwrite(place, std::string(1, static_cast<char>(whole[place] ^ (1 << random() % 8))));
    EXPECT_CONTAINS(error_of(ErrorKind::kData, read), "shard-00001.h5: ") << place;
    overwrite(place, whole.substr(place, 1));
  }
  read();
}

TEST_F(SealTest, NamesTheBytesAndBothChecksums) {
  write_checkpoint();
  const auto offset = h5_info(h5_open(path), "members/head.weight", path).offset;
  change_byte(path, offset + kSealBlockBytes + 77);
  const CheckpointReader reader(path);
  reader.read_slab("members/head.weight", 0, 1);  // its block is whole
  const auto message =
      error_of(ErrorKind::kData, [&] { reader.read_slab("members/head.weight", 1, 1); });
  EXPECT_CONTAINS(message,
                  fmt::format("file.h5: members/head.weight: damaged: bytes {} .. {} of the "
                              "file: expected xxh3:",
                              offset + kSealBlockBytes, offset + 2 * kSealBlockBytes - 1));
  EXPECT_CONTAINS(message, ", found xxh3:");
}

// Rows in blocks that are already checked are not read twice; a change in between is found where a
// read covers a whole block.
TEST_F(SealTest, PartsOfBlocksComeBack) {
  write_checkpoint();
  const auto seal = Seal::of(path);
  const auto info = h5_info(h5_open(path), "members/head.weight", path);
  const int64_t bytes = 3 * 50000 * 4, number = seal->find(info.offset, bytes);
  ASSERT_GE(number, 0);
  const auto* expected = static_cast<const char*>(values.const_data_ptr());
  std::mt19937_64 random(13);
  for (int i = 0; i < 50; ++i) {
    const auto first = static_cast<int64_t>(random() % bytes),
               count = static_cast<int64_t>(random() % (bytes - first + 1));
    std::vector<char> found(count);
    seal->read(number, first, count, found.data());
    EXPECT_EQ(std::memcmp(found.data(), expected + first, count), 0) << first << " " << count;
  }
  change_byte(path, info.offset + 5);
  std::vector<char> all(bytes);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { seal->read(number, 0, bytes, all.data()); }),
                  "damaged: bytes");
}

TEST_F(SealTest, FilesThatWereCutOrAddedTo) {
  write_checkpoint();
  const auto whole = read_text(path);
  for (const size_t left : {whole.size() - 1, whole.size() - 40, whole.size() - 100,
                            whole.size() / 2, size_t{900}, size_t{30}, size_t{0}}) {
    atomic_write_text(path, whole.substr(0, left));
    EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { CheckpointReader{path}; }), "file.h5: ");
  }
  atomic_write_text(path, whole.substr(0, whole.size() - 1));
  EXPECT_CONTAINS(
      open_error(),
      "damaged: expected the checksums of a dissent-checkpoint of version 2 at its end, "
      "found none");
  atomic_write_text(path, whole + "more");
  EXPECT_CONTAINS(open_error(), "expected the checksums");
  atomic_write_text(path, whole.substr(0, 5000) + whole.substr(5100));
  EXPECT_CONTAINS(open_error(), fmt::format("found a file of {} bytes", whole.size() - 100));
}

TEST_F(SealTest, AFullDiskLeavesNoFile) {
  write_checkpoint();
  const auto before = read_text(path);
  int64_t unsealed = 0;
  std::memcpy(&unsealed, before.data() + before.size() - 40, sizeof unsealed);
  const FileSizeLimit full(static_cast<rlim_t>(unsealed + 20));  // the seal does not fit
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { write_checkpoint(); }), "File too large");
  EXPECT_EQ(read_text(path), before);
  EXPECT_FALSE(std::filesystem::exists(temporary_name(path)));
}

// A text in HDF5's heap whose number is beyond the heap: HDF5 1.10.8 crashes when it reads it.
TEST_F(SealTest, WhatCrashesHdf5IsAnError) {
  write_texts();
  h5_open(path);
  auto bytes = read_text(path);
  const auto heap = static_cast<int64_t>(bytes.find("GCOL"));
  std::string reference(16, '\0');  // u32 length, u64 place of the heap, u32 number
  reference[0] = 24;
  std::memcpy(reference.data() + 4, &heap, sizeof heap);
  reference[12] = 1;
  const auto at = bytes.find(reference);
  ASSERT_NE(at, std::string::npos);
  overwrite(static_cast<int64_t>(at) + 14, "\x08");
  const auto message = open_error();
  EXPECT_CONTAINS(message,
                  "file.h5: expected an HDF5 file, found a damaged one: HDF5 crashes (Segmentation "
                  "fault) while reading it");
  EXPECT_EQ(open_error(), message);  // also the second time
}

// A heap whose objects have no size: HDF5 1.10.8 goes round in it.
TEST_F(SealTest, WhatNeverEndsIsAnError) {
  write_texts();
  const auto heap = static_cast<int64_t>(read_text(path).find("GCOL"));
  overwrite(heap + 16 + 16 + 24, std::string(16, '\0'));  // the header of the second text
  EXPECT_CONTAINS(open_error(),
                  fmt::format("HDF5 does not finish within {} s while reading", kH5CheckSeconds));
}

// Whatever a changed byte does to a file without checksums, it is an error or it is read.
TEST_F(SealTest, ChangedBytesOfForeignFilesEndNothing) {
  write_texts();
  {
    const UniqueHandle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    h5_add_dataset(file, "a/x", {4, 3}, at::kFloat, path);
    h5_write_rows(file, "a/x", 0, at::ones({4, 3}), *self, path);
  }
  const auto whole = read_text(path);
  std::mt19937_64 random(14);
  int errors = 0;
  for (int i = 0; i < 60; ++i) {
    const auto place = static_cast<int64_t>(random() % whole.size());
    overwrite(place, std::string(1, static_cast<char>(random())));
    try {
      const auto file = h5_open(path);
      for (const auto& name : h5_attribute_names(file, "/", path))
        h5_read_attribute(file, "/", name, path);
      for (const auto& name : h5_dataset_names(file, "/", path)) h5_read(file, name, path);
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::kData)) << error.what();
      ++errors;
    }
    overwrite(place, whole.substr(place, 1));
  }
  EXPECT_GT(errors, 0);
}

TEST_F(SealTest, MoreRowsThanTheFileCanHold) {
  const hsize_t rows = hsize_t{1} << 40;
  declare({rows, 4}, [](hid_t) {});
  EXPECT_CONTAINS(info_error(),
                  "file.h5: x: damaged: expected [1099511627776, 4] values of 4 bytes in the file, "
                  "found none in a file of ");
  declare({rows, 4}, [](hid_t creation) {
    const hsize_t chunk[] = {1024, 4};
    H5Pset_chunk(creation, 2, chunk);
  });
  EXPECT_CONTAINS(info_error(),
                  "file.h5: x: damaged: expected 1073741824 chunks ([1099511627776, 4] in chunks "
                  "of [1024, 4]), "
                  "found 0");
}

TEST_F(SealTest, ValuesInOtherFilesAreRefused) {
  declare({4}, [](hid_t creation) { H5Pset_external(creation, "values.raw", 0, 16); });
  EXPECT_CONTAINS(info_error(), "file.h5: x: expected values in the file itself, found external");
  declare({4}, [](hid_t creation) {
    const hsize_t size[] = {4};
    const UniqueHandle space(H5Screate_simple(1, size, nullptr), H5Sclose);
    H5Pset_virtual(creation, space, "other.h5", "x", space);
  });
  EXPECT_CONTAINS(info_error(), "found a virtual dataset, whose values are in other files");
}

TEST_F(SealTest, MissingFiltersAreNamed) {
  declare({4}, [](hid_t creation) {
    const hsize_t chunk[] = {4};
    H5Pset_chunk(creation, 1, chunk);
    H5Pset_filter(creation, 32000, H5Z_FLAG_OPTIONAL, 0, nullptr);
  });
  EXPECT_CONTAINS(info_error(),
                  "found filter 32000 (lzf), which it does not have; rewrite the file without it "
                  "(h5repack -f NONE");
}

// The other file's values, not those that lie at their place in this one.
TEST_F(SealTest, ExternalLinksAreFollowedByHdf5) {
  const std::string other = folder / "other.h5";
  const auto label = at::arange(8).to(at::kFloat), embed = at::arange(32).reshape({8, 4}) * 0.5;
  const auto write = [&](const std::string& file_path, double factor) {
    auto file = h5_create(file_path);
    h5_add_dataset(file, "embed", {8, 4}, at::kFloat, file_path);
    h5_write_rows(file, "embed", 0, (embed * factor).to(at::kFloat), *self, file_path);
    if (file_path == other) return;
    ASSERT_GE(H5Ldelete(file, "embed", H5P_DEFAULT), 0);
    ASSERT_GE(H5Lcreate_external("other.h5", "/embed", file, "embed", H5P_DEFAULT, H5P_DEFAULT), 0);
    for (const char* name : {"label", "index"}) {
      h5_add_dataset(file, name, {8}, at::kFloat, file_path);
      h5_write_rows(file, name, 0, label, *self, file_path);
    }
  };
  write(other, 1);
  write(path, 3);
  const auto cache = FeatureCache::open(path);
  EXPECT_FALSE(cache.concurrent_reads());
  EXPECT_TRUE(at::equal(cache.read_rows(0, 8), embed.to(at::kFloat)));
}

// Offsets count from the file's first byte, not from HDF5's.
TEST_F(SealTest, FilesWithAUserBlock) {
  const UniqueHandle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_userblock(creation, 1024);
  UniqueHandle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, H5P_DEFAULT), H5Fclose);
  for (const char* name : {"embed", "label", "index"}) {
    const auto values_of =
        std::string(name) == "embed" ? at::arange(8).reshape({4, 2}) : at::arange(4);
    h5_add_dataset(file, name, values_of.sizes(), at::kFloat, path);
    h5_write_rows(file, name, 0, values_of.to(at::kFloat), *self, path);
  }
  file.close(path);
  const auto cache = FeatureCache::open(path);
  EXPECT_TRUE(cache.concurrent_reads());
  EXPECT_TRUE(at::equal(cache.read_rows(0, 4), at::arange(8).reshape({4, 2}).to(at::kFloat)));
}

TEST_F(SealTest, LabelsBeyondEveryClass) {
  for (const auto& [label, text] : {std::pair{2e9, "2000000000"},
                                    {4294967299.0, "4294967299"},
                                    {1e300, "1e+300"},
                                    {-2.0, "-2"}}) {
    auto file = h5_create(path);
    auto labels = at::zeros({4}, at::kDouble);
    labels[2] = label;
    h5_add_dataset(file, "embed", {4, 2}, at::kFloat, path);
    h5_write_rows(file, "embed", 0, at::zeros({4, 2}), *self, path);
    h5_add_dataset(file, "label", {4}, at::kDouble, path);
    h5_write_rows(file, "label", 0, labels, *self, path);
    h5_add_dataset(file, "index", {4}, at::kFloat, path);
    h5_write_rows(file, "index", 0, at::arange(4).to(at::kFloat), *self, path);
    file.close(path);
    EXPECT_CONTAINS(
        error_of(ErrorKind::kData, [&] { FeatureCache::open(path); }),
        fmt::format("file.h5: label of row 2: expected -1 (unknown) .. 1048575, found {}", text));
  }
}

TEST_F(SealTest, OnlyRegularFilesAreRead) {
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_CONTAINS(open_error(), "file.h5: expected a file, found a FIFO");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_text(path); }), "found a FIFO");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [] { h5_open("/dev/zero"); }),
                  "/dev/zero: expected a file, found a character device");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { h5_open(folder.path()); }), "found a folder");
}
