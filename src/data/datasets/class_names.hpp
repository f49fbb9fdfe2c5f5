#pragma once
#include <string>
#include <vector>

namespace dissent {

/// Names of the classes of a registered set, by number, for figures: those of fashion_mnist, mnist,
/// cifar10 and cifar100 (and of their corrupted sets); empty for others.
/// Ref: the READMEs and batches.meta, meta of these sets.
std::vector<std::string> registered_class_names(const std::string& dataset);

}  // namespace dissent
