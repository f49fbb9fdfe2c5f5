#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"
#include "data/options.hpp"

namespace dissent {

struct DatasetSpec;

/// CIFAR-10 or CIFAR-100 (by spec.classes; the fine labels of the latter), split "train" or "test",
/// in the binary or the Python version: `root` is the folder of the files or the one into which the
/// archive was unpacked. Binary: records of the labels (1 or 2 bytes) and 3 x 32 x 32 values.
/// Python: pickles of data [N, 3072] u8 and labels, a list or an array of integers, as written by
/// Python 2 or 3 (protocols 2 to 5). Error::kData with the file: missing, wrong size, a label out
/// of range. Ref: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
std::unique_ptr<ImageSource> open_cifar(const DatasetSpec& spec, const std::string& root,
                                        const ImageDataOptions& options);

/// CIFAR-10-C or CIFAR-100-C, split "CORRUPTION/SEVERITY", for example "fog/3", severity 1 .. 5:
/// rows (s - 1) 10000 .. s 10000 - 1 of CORRUPTION.npy, u8 [50000, 32, 32, 3]; or "all/SEVERITY":
/// those of every corruption whose file exists, in alphabetical order. labels.npy holds the labels.
/// Error::kUsage: a split of another form. Error::kData with the file: missing, wrong shape, a
/// label out of range. Ref: Hendrycks and Dietterich, ICLR 2019
std::unique_ptr<ImageSource> open_cifar_c(const DatasetSpec& spec, const std::string& root,
                                          const ImageDataOptions& options);

}  // namespace dissent
