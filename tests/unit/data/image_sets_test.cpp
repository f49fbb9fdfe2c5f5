#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/datasets/folder_list.hpp"
#include "data/datasets/image_list.hpp"
#include "data/datasets/npy.hpp"
#include "data/datasets/registry.hpp"
#include "data/open_images.hpp"
#include "memory_use.hpp"
#include "self.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

struct ImageSets : ::testing::Test {
  TempFolder folder{*self};
  std::string images = std::string(std::getenv("DISSENT_SOURCE_DIR")) + "/tests/data/images";

  std::unique_ptr<ImageSource> open(const std::string& name, const std::string& split) const {
    ImageDataOptions data;
    data.dataset = name;
    data.root = folder.path();
    data.split = split;
    return open_image_source(data);
  }
  std::unique_ptr<ImageSource> list(const std::string& text, const std::string& root,
                                    std::optional<int64_t> classes = std::nullopt) const {
    atomic_write_text(folder / "list.txt", text);
    ImageDataOptions data;
    data.dataset = "textures";
    data.split = "test";
    data.list = folder / "list.txt";
    data.root = root;
    data.classes = classes;
    return open_image_source(data);
  }
  std::string list_error(const std::string& text, const std::string& root = "r",
                         std::optional<int64_t> classes = std::nullopt) const {
    return error_of(ErrorKind::kData, [&] { list(text, root, classes); });
  }
  void copy(const std::string& name, const std::string& to) const {
    const auto path = std::filesystem::path(folder / to);
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::copy_file(images + "/" + name, path);
  }
};

// Value v of row r, plane by plane.
uint8_t value(int64_t r, int64_t v) { return static_cast<uint8_t>(r * 7 + v * 3 + v / 256); }

std::string planes(int64_t row) {
  std::string text;
  for (int64_t v = 0; v < 3072; ++v) text += static_cast<char>(value(row, v));
  return text;
}

void expect_pixels(const ImageSource& set, int64_t rows) {
  ASSERT_EQ(set.rows(), rows);
  for (const int64_t r : {int64_t{0}, rows - 1}) {
    const auto image = set.image(r);
    ASSERT_EQ(image.sizes().vec(), (std::vector<int64_t>{32, 32, 3}));
    EXPECT_TRUE(image.is_contiguous());
    for (const auto& [y, x, c] : {std::tuple(0, 0, 0), {31, 31, 2}, {5, 17, 1}, {17, 5, 2}})
      EXPECT_EQ(image[y][x][c].item<int>(), value(r, c * 1024 + y * 32 + x));
  }
}

std::string little_endian(uint32_t number) {
  std::string text;
  for (int shift = 0; shift < 32; shift += 8) text += static_cast<char>(number >> shift);
  return text;
}

// As Python 2 wrote CIFAR's files: protocol 2, byte strings, an array of numpy made by _reconstruct
// and filled by its state.
std::string python2_pickle(const std::string& label_key, int64_t rows, int64_t first, int label) {
  std::string data, labels;
  for (int64_t r = first; r < first + rows; ++r) data += planes(r);
  for (int64_t r = 0; r < rows; ++r) labels += std::string("K") + static_cast<char>(label);
  const auto text = [](const std::string& t) {
    return "U" + std::string(1, static_cast<char>(t.size())) + t;
  };
  const std::string two = "\x02", three = "\x03";
  return "\x80" + two + "}q" + std::string("\x01", 1) + "(" + text("batch_label") + "q\x02" +
         text("testing batch 1 of 1") + "q\x03" + text("data") +
         "cnumpy.core.multiarray\n_reconstruct\nq\x04" + "cnumpy\nndarray\nq\x05K" +
         std::string(1, '\0') + "\x85" + text("b") + "\x87R(K\x01M" +
         little_endian(static_cast<uint32_t>(rows)).substr(0, 2) + "M" +
         little_endian(3072).substr(0, 2) + "\x86" + "cnumpy\ndtype\n" + text("u1") + "K" +
         std::string(1, '\0') + "K\x01\x87R(K\x03" + text("|") +
         "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + "K" + std::string(1, '\0') + "tb\x89T" +
         little_endian(static_cast<uint32_t>(data.size())) + data + "tb" + text(label_key) + "](" +
         labels + "eu.";
}

std::string npy(const std::string& descr, const std::vector<int64_t>& shape,
                const std::string& values) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}",
                                   descr, fmt::join(shape, ", "));
  header.resize(117, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
         values;
}

}  // namespace

TEST_F(ImageSets, Cifar10BinaryInFiveFiles) {
  std::filesystem::create_directories(folder / "cifar-10-batches-bin");
  for (int64_t file = 0; file < 5; ++file)
    atomic_write_text(
        folder / fmt::format("cifar-10-batches-bin/data_batch_{}.bin", file + 1),
        std::string(1, static_cast<char>(file)) + planes(2 * file) + "\x09" + planes(2 * file + 1));
  const auto set = open("cifar10", "train");
  expect_pixels(*set, 10);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({0, 9, 1, 9, 2, 9, 3, 9, 4, 9}, at::kLong)));
  EXPECT_EQ(set->identity().rfind("cifar10/train, 10 images, ", 0), 0u);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "test"); }),
                  "/test_batch.bin: no such file, nor test_batch; give the folder of");
  const auto last = folder / "cifar-10-batches-bin/data_batch_5.bin";
  atomic_write_text(last, read_text(last) + "x");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "data_batch_5.bin: expected records of 3073 bytes, found 6147 bytes");
  atomic_write_text(last, "\x0a" + planes(0));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "data_batch_5.bin: label of image 0: expected 0 .. 9, or -1 (unknown), found 10");
  remove_file(last);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "data_batch_5.bin: no such file");
}

TEST_F(ImageSets, Cifar100TakesTheFineLabels) {
  atomic_write_text(folder / "train.bin", "\x05\x4d" + planes(0) + "\x06\x63" + planes(1));
  const auto set = open("cifar100", "train");
  expect_pixels(*set, 2);
  EXPECT_EQ(set->classes(), 100);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({77, 99}, at::kLong)));
  atomic_write_text(folder / "test", python2_pickle("fine_labels", 3, 0, 42));
  const auto test = open("cifar100", "test");
  expect_pixels(*test, 3);
  EXPECT_TRUE(at::equal(test->labels(), at::full({3}, 42, at::kLong)));
}

TEST_F(ImageSets, Cifar10AsPythonWroteIt) {
  std::filesystem::create_directories(folder / "cifar-10-batches-py");
  const auto path = [&](int64_t file) {
    return folder / fmt::format("cifar-10-batches-py/data_batch_{}", file + 1);
  };
  for (int64_t file = 0; file < 5; ++file)
    atomic_write_text(path(file), python2_pickle("labels", 2, 2 * file, static_cast<int>(file)));
  const auto set = open("cifar10", "train");
  expect_pixels(*set, 10);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({0, 0, 1, 1, 2, 2, 3, 3, 4, 4}, at::kLong)));
  const auto good = read_text(path(0));
  atomic_write_text(path(0), good.substr(0, 4000));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "data_batch_1: its pickle cannot be read: unexpected end");
  atomic_write_text(path(0), "(dp0\nS'data'\np1\n");  // protocol 0
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "expected protocol 2 to 5, found an older one, or not a pickle");
  atomic_write_text(path(0), python2_pickle("fine_labels", 2, 0, 0));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "data_batch_1: expected a pickle of data [N, 3072] u8 and labels");
  auto fewer = good;
  fewer.replace(fewer.find(std::string("K\x01M\x02\0M", 6)), 6, std::string("K\x01M\x03\0M", 6));
  atomic_write_text(path(0), fewer);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10", "train"); }),
                  "expected the bytes of an array [3, 3072], found 6144 bytes");
}

TEST_F(ImageSets, CifarCTakesTheRowsOfASeverity) {
  // Zeros, but for the first pixel of each severity's first row and the last of its last.
  for (int file = 0; file < 2; ++file) {
    const auto path = folder / (file == 0 ? "fog.npy" : "snow.npy");
    const auto header = npy("|u1", {50000, 32, 32, 3}, "");
    atomic_write_text(path, header);
    std::filesystem::resize_file(path, header.size() + 50000 * 3072);
    std::fstream values(path, std::ios::in | std::ios::out | std::ios::binary);
    for (int severity = 0; severity < 5; ++severity)
      for (const int64_t value : {severity * 30720000, (severity + 1) * 30720000 - 1}) {
        values.seekp(static_cast<int64_t>(header.size()) + value);
        values.put(static_cast<char>(10 * file + severity + 1));
      }
  }
  std::string labels;
  for (int row = 0; row < 50000; ++row) labels += static_cast<char>(row % 10000 % 10);
  atomic_write_text(folder / "labels.npy", npy("|u1", {50000}, labels));
  const auto set = open("cifar10_c", "snow/4");
  EXPECT_EQ(set->name(), "cifar10_c/snow/4");
  EXPECT_EQ(set->rows(), 10000);
  EXPECT_EQ(set->image(0)[0][0][0].item<int>(), 14);
  EXPECT_EQ(set->image(9999)[31][31][2].item<int>(), 14);
  EXPECT_EQ(set->labels()[17].item<int64_t>(), 7);
  const auto all = open("cifar10_c", "all/1");
  EXPECT_EQ(all->rows(), 20000);
  EXPECT_EQ(all->image(9999)[31][31][2].item<int>(), 1);
  EXPECT_EQ(all->image(10000)[0][0][0].item<int>(), 11);
  for (const auto& split : {"fog", "fog/6", "fog/0", "fog/12", "/1", "../x/1"})
    EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { open("cifar10_c", split); }),
                    "expected CORRUPTION/SEVERITY");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10_c", "frost/1"); }),
                  "frost.npy: no such file; give the folder of CIFAR-10-C's");
  atomic_write_text(folder / "frost.npy", npy("|u1", {50000}, labels));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar10_c", "frost/1"); }),
                  "frost.npy: expected rows of Byte [50000, 32, 32, 3], found");
}

// Whatever is between its quotes: std::regex would end the stack.
TEST_F(ImageSets, ALongHeaderOfNumpyIsDamaged) {
  std::string header =
      "{'descr': '" + std::string(60000, 'u') + "', 'fortran_order': False, 'shape': (1,), }";
  const auto size = little_endian(static_cast<uint32_t>(header.size()));
  atomic_write_text(folder / "long.npy", std::string("\x93NUMPY\x02\x00", 8) + size + header + "a");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_npy(folder / "long.npy"); }),
                  "long.npy: expected a header of at most 1024 bytes, found one of 600");
}

// Written by pickle and numpy themselves: tests/data/cifar/make.py.
TEST_F(ImageSets, Cifar100AsPython3WritesIt) {
  const auto put = [&](const std::string& name) {
    std::filesystem::copy_file(images + "/../cifar/" + name, folder / "test",
                               std::filesystem::copy_options::overwrite_existing);
  };
  for (const char* name : {"protocol2_array", "protocol4_fortran", "protocol5_list",
                           "protocol5_bytes", "protocol5_scalars"}) {
    put(name);
    const auto set = open("cifar100", "test");
    expect_pixels(*set, 2);
    EXPECT_TRUE(at::equal(set->labels(), at::tensor({77, 99}, at::kLong))) << name;
  }
  put("protocol5_wide");  // 2^32 + 77 is not 77
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar100", "test"); }),
                  "/test: label of image 1: expected 0 .. 99, or -1 (unknown), found 4294967373");
  put("protocol5_text");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar100", "test"); }),
                  "/test: fine_labels: label of image 1: expected an integer");
}

TEST_F(ImageSets, RowsOfAnIgnoredLabelAreLeftOut) {
  atomic_write_text(folder / "train.bin",
                    "\x05\xff" + planes(3) + "\x05\x4d" + planes(0) + "\x06\x63" + planes(1));
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("cifar100", "train"); }),
                  "train.bin: label of image 0: expected 0 .. 99, or -1 (unknown), found 255");
  ImageDataOptions data;
  data.dataset = "cifar100";
  data.root = folder.path();
  data.ignore_label = 255;
  expect_pixels(*open_image_source(data), 2);
  EXPECT_TRUE(at::equal(open_image_source(data)->labels(), at::tensor({77, 99}, at::kLong)));
  atomic_write_text(folder / "train.bin", "\x05\xff" + planes(3));
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { open_image_source(data); }),
      "train.bin: expected rows with a label other than ignore_label = 255, found none");

  atomic_write_text(folder / "list.txt", "a 0\nb -100\nc 1\nd -100\n");
  data = {};
  data.list = folder / "list.txt";
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }),
                  "list.txt:2: label: expected -1 (unknown) or 0 .. 2147483646");
  data.ignore_label = -100;
  const auto set = open_image_source(data);
  EXPECT_EQ(set->classes(), 2);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({0, 1}, at::kLong)));
  EXPECT_EQ(set->image_name(1), "c");
  EXPECT_NE(set->identity().find(", without label -100"), std::string::npos);
  atomic_write_text(folder / "list.txt", "a -100\n");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }),
                  "list.txt: expected lines with a label other than ignore_label = -100");
}

// 2^32 + 1 is not 1; a mark such as 255 is not a class.
TEST_F(ImageSets, LabelsAreNeverCutAndGapsAreSeen) {
  for (const char* label : {"4294967297", "2147483647", "18446744073709551617", "-4294967295"})
    EXPECT_CONTAINS(list_error(fmt::format("a 0\nb {}\n", label)),
                    fmt::format("list.txt:2: label: expected -1 (unknown) or 0 .. 2147483646 (the "
                                "largest label), found {}",
                                label));
  const auto gaps = [&](const std::vector<int64_t>& labels,
                        std::optional<int64_t> classes = std::nullopt) {
    std::string text;
    for (const int64_t label : labels) text += fmt::format("a {}\n", label);
    ImageDataOptions data;
    data.list = folder / "list.txt";
    data.classes = classes;
    const auto set = list(text, "r", classes);
    check_class_gaps(*set, data);
    return set->classes();
  };
  EXPECT_EQ(gaps({0, 1, 2, -1}), 3);
  EXPECT_EQ(gaps({-1, -1}), 0);
  EXPECT_EQ(gaps({0, 1, 3, 4}), 5);  // one is missing: said, not refused
  EXPECT_EQ(gaps({0, 1, 255}, 256), 256);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { gaps({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255}); }),
      "list.txt: labels: expected rows for each of the classes 0 .. 255 (the highest "
      "label), found none for 245 of them (the first: 10); set data.classes = 256 if these "
      "are classes without rows, or data.ignore_label = 255 to skip rows with that label");
  std::vector<int64_t> many(200);
  for (int64_t i = 0; i < 200; ++i) many[i] = i;
  many.push_back(214);
  EXPECT_EQ(gaps(many), 215);
  many.back() = 216;
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { gaps(many); }), "found none for 16 of them");
}

TEST_F(ImageSets, ListsHaveTheNameOfTheirFileAndTheirClassFile) {
  const auto open_list = [&](const std::string& text, std::optional<int64_t> classes) {
    atomic_write_text(folder / "birds.txt", text);
    ImageDataOptions data;
    data.list = folder / "birds.txt";
    data.classes = classes;
    return open_image_source(data);
  };
  auto set = open_list(
      "\xEF\xBB\xBF"
      "a 0\r\nb 1\r\n",
      std::nullopt);
  EXPECT_EQ(set->name(), "birds/train");
  EXPECT_EQ(set->identity(), open_list("a 0\nb 1\n", std::nullopt)->identity());
  EXPECT_EQ(set->image_name(0), "a");
  atomic_write_text(folder / "birds.classes.txt", "\xEF\xBB\xBFowl\r\nwren\r\ntit\r\n");
  set = open_list("a 0\nb 1\n", std::nullopt);
  EXPECT_EQ(set->classes(), 3);
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"owl", "wren", "tit"}));
  EXPECT_EQ(open_list("a 0\n", 5)->classes(), 5);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_list("a 0\nb 3\n", std::nullopt); }),
                  "birds.txt:2: label: expected -1 (unknown) or 0 .. 2, found 3");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_list("a 0\n", 2); }),
                  "birds.txt: expected at most 2 classes (data.classes), found 3 class names");
  check_same_classes(*set, {"owl", "wren", "tit"}, "train");
  check_same_classes(*set, {}, "train");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { check_same_classes(*set, {"owl", "tit"}, "birds/train"); }),
      "birds/train: classes: expected the numbering of birds/train: class 1: expected \"tit\", "
      "found "
      "\"wren\" (2 classes there, 3 here)");
  atomic_write_text(folder / "birds.classes.txt", "owl\nwren\nowl\n");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_list("a 0\n", std::nullopt); }),
                  "birds.classes.txt:3: expected each class once, found owl twice");
  atomic_write_text(folder / "birds.txt", std::string("\xFF\xFE"
                                                      "a\0 \0",
                                                      6));
  ImageDataOptions data;
  data.list = folder / "birds.txt";
  remove_file(folder / "birds.classes.txt");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }),
                  "birds.txt: expected text in UTF-8, found the mark of UTF-16");
  data = {};
  EXPECT_EQ(set_name(data), "fashion_mnist");
  data.dataset = "cifar10";
  data.classes = 7;
  data.root = folder.path();
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { open_image_source(data); }),
                  "classes: expected 10 (dataset cifar10) or \"auto\", found 7");
  data.classes.reset();
  data.background = "grey";
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { open_image_source(data); }),
                  "background: expected none, white, black");
}

TEST_F(ImageSets, ListsAsOpenOodWritesThem) {
  const auto set = list("jpeg_420.jpg 3\r\n\npng_rgb.png -1\na b/c d.png 0", images);
  EXPECT_EQ(set->name(), "textures/test");
  EXPECT_EQ(set->rows(), 3);
  EXPECT_EQ(set->classes(), 4);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({3, -1, 0}, at::kLong)));
  const auto expected = read_npy(images + "/pixels.npy");
  EXPECT_TRUE(at::equal(set->image(0), expected[0]));
  EXPECT_TRUE(at::equal(set->image(1), expected[14]));
  EXPECT_EQ(dynamic_cast<const ImageList&>(*set).path(2), images + "/a b/c d.png");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { set->image(2); }),
                  "a b/c d.png: cannot open: No such file");
  EXPECT_EQ(list("a -1\nb -1", "r")->classes(), 0);
  EXPECT_EQ(list("a 1\nb -1", "r", 200)->classes(), 200);
  EXPECT_EQ(list("a 1\n", "r")->identity(), list("a 1\n", "elsewhere")->identity());
  EXPECT_NE(list("a 1\n", "r")->identity(), list("a 0\n", "r")->identity());
  EXPECT_EQ(dynamic_cast<const ImageList&>(*list("/x/a.png 1\n", "")).path(0), "/x/a.png");
  EXPECT_CONTAINS(list_error("a 1\nb\n"), "list.txt:2: expected `path label`, found 'b'");
  EXPECT_CONTAINS(list_error("a 1\nb one\n"),
                  "list.txt:2: label: expected an integer, found 'one'");
  EXPECT_CONTAINS(list_error("a 1.5\n"), "list.txt:1: label: expected an integer, found '1.5'");
  EXPECT_CONTAINS(
      list_error("a -2\n"),
      "list.txt:1: label: expected -1 (unknown) or 0 .. 2147483646 (the largest label), found -2");
  EXPECT_CONTAINS(list_error("a 10\n", "r", 10),
                  "list.txt:1: label: expected -1 (unknown) or 0 .. 9, found 10");
  EXPECT_CONTAINS(list_error("/a 1\n"), "list.txt:1: /a: expected a path below r");
  EXPECT_CONTAINS(list_error("\n\n"), "list.txt: expected lines `path label`, found none");
  ImageDataOptions data;
  data.list = folder / "none.txt";
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }),
                  "none.txt: no such image list");
}

TEST_F(ImageSets, FoldersAreListedInTheOrderOfTheirNames) {
  copy("jpeg_420.jpg", "train/n02/b/x.JPEG");
  copy("png_rgb.png", "train/n02/a.png");
  copy("png_grey.png", "train/n01/z.PNG");
  atomic_write_text(folder / "train/n01/notes.txt", "no image");
  const auto listed =
      list_folders({.folders = {folder / "train"}, .root = folder.path(), .label = std::nullopt});
  EXPECT_EQ(listed.images, 3);
  EXPECT_EQ(listed.classes, (std::vector<std::string>{"n01", "n02"}));
  EXPECT_EQ(listed.text, "train/n01/z.PNG 0\ntrain/n02/a.png 1\ntrain/n02/b/x.JPEG 1\n");
  EXPECT_EQ(list_folders({.folders = {folder / "train/n01/", folder / "train/n02"},
                          .root = folder / "train",
                          .label = -1})
                .text,
            "n01/z.PNG -1\nn02/a.png -1\nn02/b/x.JPEG -1\n");
  const std::vector<std::string> classes{"n09", "n02", "n05", "n01"};
  EXPECT_EQ(list_folders({.folders = {folder / "train"},
                          .root = folder.path(),
                          .classes = classes,
                          .label = std::nullopt})
                .text,
            "train/n02/a.png 1\ntrain/n02/b/x.JPEG 1\ntrain/n01/z.PNG 3\n");
  const auto set = open("folder", "train");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open("folder", "fog/5"); }),
                  "/fog/5: no such folder");
  EXPECT_EQ(set->classes(), 2);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({0, 1, 1}, at::kLong)));
  EXPECT_EQ(set->image(0).sizes().vec(), (std::vector<int64_t>{29, 23}));
  const auto error = [&](const FolderListOptions& options) {
    return error_of(ErrorKind::kData, [&] { list_folders(options); });
  };
  EXPECT_CONTAINS(error({.folders = {folder / "train/n01"}, .root = "", .label = std::nullopt}),
                  "n01/z.PNG: expected the image in a subfolder");
  EXPECT_CONTAINS(error({.folders = {folder / "val"}, .root = "", .label = -1}),
                  "val: no such folder");
  EXPECT_CONTAINS(error({.folders = {folder / "train"}, .root = folder / "train/n01", .label = -1}),
                  "expected a folder below the root");
  EXPECT_CONTAINS(error({.folders = {folder / "train"},
                         .root = "",
                         .classes = {"n02", "n03"},
                         .label = std::nullopt}),
                  "train/n01/z.PNG: the subfolder n01: expected one of the 2 classes");
  std::filesystem::create_directories(folder / "empty/a");
  EXPECT_CONTAINS(error({.folders = {folder / "empty"}, .root = "", .label = -1}),
                  "empty: expected files *.jpg");
}

// All subfolders are numbered, whatever lies in them: a class without images, or with files of
// another ending, moves no label. What systems leave is none.
TEST_F(ImageSets, FoldersAreNumberedNotTheImagesInThem) {
  copy("png_rgb.png", "pets/yak/a.png");
  copy("png_rgb.png", "pets/ant/a.png");
  copy("png_rgb.png", "pets/dog/deep/b.png");
  copy("png_rgb.png", "pets/.cache/a.png");
  copy("png_rgb.png", "pets/__MACOSX/ant/._a.png");
  copy("png_rgb.png", "pets/@eaDir/a.png");
  copy("png_rgb.png", "pets/ant/.a.png");
  copy("png_rgb.png", "pets/ant/.AppleDouble/a.png");
  for (const char* name : {"pets/Thumbs.db", "pets/.DS_Store", "pets/ant/desktop.ini"})
    atomic_write_text(folder / name, "x");
  const auto with = [&](bool allow_empty) {
    return list_folders({.folders = {folder / "pets"},
                         .root = folder / "pets",
                         .label = std::nullopt,
                         .allow_empty = allow_empty});
  };
  EXPECT_EQ(with(false).text, "ant/a.png 0\ndog/deep/b.png 1\nyak/a.png 2\n");
  EXPECT_TRUE(with(false).skipped.empty());
  std::filesystem::create_directories(folder / "pets/bee/none");
  copy("png_rgb.png", "pets/cat/a.webp");
  copy("png_rgb.png", "pets/cat/b.WEBP");
  atomic_write_text(folder / "pets/cat/notes.txt", "x");
  atomic_write_text(folder / "pets/yak/README", "x");
  const auto list = with(true);
  EXPECT_EQ(list.text, "ant/a.png 0\ndog/deep/b.png 3\nyak/a.png 4\n");
  EXPECT_EQ(list.classes, (std::vector<std::string>{"ant", "bee", "cat", "dog", "yak"}));
  EXPECT_EQ(list.empty, (std::vector<std::string>{"bee", "cat"}));
  ASSERT_EQ(list.skipped.size(), 2u);
  EXPECT_EQ(list.skipped.at("cat").endings,
            (std::map<std::string, int64_t>{{".txt", 1}, {".webp", 2}}));
  EXPECT_EQ(list.skipped.at("cat").first, folder / "pets/cat/a.webp");
  EXPECT_EQ(list.skipped.at("yak").files, 1);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { with(false); }),
      "expected images (*.jpg, *.jpeg, *.png) in each subfolder, found none in 2 of 5: bee (no "
      "files); cat (3 files with other suffixes: .webp 2, .txt 1); add images");
  ImageDataOptions data;
  data.dataset = "folder";
  data.split = "pets";
  data.root = folder.path();
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }), "2 of 5: bee");
  data.allow_empty = true;
  const auto set = open_image_source(data);
  EXPECT_EQ(set->classes(), 5);
  EXPECT_EQ(set->class_names(), list.classes);
  EXPECT_TRUE(at::equal(set->labels(), at::tensor({0, 3, 4}, at::kLong)));
  data.classes = 9;
  EXPECT_EQ(open_image_source(data)->classes(), 9);
  data.classes = 4;
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { open_image_source(data); }),
                  "expected at most 4 classes (data.classes), found 5 class names");
  EXPECT_EQ(class_file_of("a.b/train.txt"), "a.b/train.classes.txt");
  EXPECT_EQ(class_file_of("train"), "train.classes.txt");
}

// ImageNet's training set: 1.28 million lines. The bound on time is that of the issue; a slow
// machine with other work is tried three times.
TEST_F(ImageSets, AListOfMillionsIsLean) {
  constexpr int64_t kLines = 1281167;
  std::string text;
  for (int64_t i = 0; i < kLines; ++i)
    text += fmt::format("imagenet_1k/train/n{:08}/n{:08}_{}.JPEG {}\n", i % 1000, i % 1000, i,
                        i % 1000);
  const auto text_bytes = static_cast<int64_t>(text.size());
  atomic_write_text(folder / "list.txt", text);
  std::string().swap(text);
  ImageDataOptions data;
  data.list = folder / "list.txt";
  double best = 1e9;
  for (int i = 0; i < 3 && best > 3; ++i) {
    reset_peak_memory();
    const auto before = status_bytes("VmRSS:");
    const auto start = std::chrono::steady_clock::now();
    const auto set = open_image_source(data);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    EXPECT_EQ(set->rows(), kLines);
    EXPECT_EQ(set->classes(), 1000);
    EXPECT_EQ(dynamic_cast<const ImageList&>(*set).path(kLines - 1),
              "imagenet_1k/train/n00000166/n00000166_1281166.JPEG");
    // The text twice while it is read, 16 bytes a line: with some 150 MB of the program and its
    // libraries far below 500 MB.
    if (kMeasures) {
      EXPECT_LT(status_bytes("VmHWM:") - before, 2 * text_bytes + 20 * kLines);
    }
  }
  if (kMeasures) {
    EXPECT_LT(best, 3) << "seconds";
  }
  RecordProperty("seconds", std::to_string(best));
}
