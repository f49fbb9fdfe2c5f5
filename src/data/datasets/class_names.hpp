#pragma once
#include <string>
#include <vector>

namespace dissent {

/// Class names of a registered set by number, for plots: fashion_mnist, mnist, cifar10 and cifar100
/// (and their corrupted sets); empty for others.
/// Ref: the READMEs and batches.meta, meta of these sets.
std::vector<std::string> registered_class_names(const std::string& dataset);

}  // namespace dissent
