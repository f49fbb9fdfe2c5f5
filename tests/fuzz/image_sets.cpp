// Sets of images: lists of files, IDX, CIFAR, numpy; and the rows that are asked for.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "data/datasets/cifar.hpp"
#include "data/datasets/idx.hpp"
#include "data/datasets/image_list.hpp"
#include "data/datasets/npy.hpp"
#include "data/datasets/registry.hpp"
#include "data/row_range.hpp"
#include "fuzz.hpp"
#include "touch.hpp"

using namespace dissent;

DISSENT_FUZZ(image_list, kOwn, " 0\n", " -1\n", "\r\n", "/", "4294967297", "9223372036854775808",
             "\xEF\xBB\xBF", "../") {
  for (const int64_t classes : {0, 10}) {
    const ImageList list({"list/test", "list.txt", classes == 0 ? "" : "root", classes}, input);
    for (int64_t row = 0; row < list.rows(); ++row) fuzz::use(list.path(row));
  }
}

DISSENT_FUZZ(idx, kOwn, std::string("\0\0\x08\x03", 4), std::string("\0\0\x08\x01", 4),
             "\x1f\x8b\x08") {
  fuzz::touch(read_idx(fuzz::file_of(input, "idx")));
}

DISSENT_FUZZ(npy, kOwn, "\x93NUMPY", "'descr': ", "'|u1'", "'<i8'", "'fortran_order': False",
             "'shape': (", "), }", "\n") {
  const auto path = fuzz::file_of(input, "values.npy");
  fuzz::touch(read_npy(path));
  read_npy(path, 1, 2);
}

// The file of CIFAR-10's test split: binary records, or a pickle of Python 2 or 3.
DISSENT_FUZZ(cifar, kOwn, "data", "labels",
             "U\x04"
             "data",
             "numpy.core.multiarray\n_reconstruct\n", "cnumpy\nndarray\n", "cnumpy\ndtype\n", "u1",
             "\x80\x02", "\x80\x05\x95", "}q\x01", "(", ".") {
  ImageDataOptions options;
  options.dataset = "cifar10";
  options.split = "test";
  const auto& spec = find_dataset(options.dataset);
  std::filesystem::create_directory(fuzz::folder() + "/binary");
  std::filesystem::create_directory(fuzz::folder() + "/python");
  const bool python = !input.empty() && input[0] == '\x80';
  fuzz::file_of(input, python ? "python/test_batch" : "binary/test_batch.bin");
  const auto set = open_cifar(spec, fuzz::folder() + (python ? "/python" : "/binary"), options);
  for (int64_t row = 0; row < set->rows(); ++row) fuzz::touch(set->image(row));
}

// data.rows
DISSENT_FUZZ(row_range, kOwn, ":", "-", "5000", "9223372036854775807", "-9223372036854775808",
             " ") {
  auto list =
      std::make_unique<ImageList>(ImageList::Origin{"list", "list.txt", "", 0}, "a 0\nb 1\nc 2");
  fuzz::use(std::to_string(rows_of_source(std::move(list), input)->rows()));
}
