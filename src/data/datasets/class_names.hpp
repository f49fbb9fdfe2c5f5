#pragma once
#include <string>
#include <vector>

namespace dissent {

// Class names by number, for the dataset table. Ref: the READMEs and batches.meta, meta of these
// sets.
std::vector<std::string> fashion_mnist_classes();
std::vector<std::string> digit_classes();
std::vector<std::string> cifar10_classes();
std::vector<std::string> cifar100_classes();

}  // namespace dissent
