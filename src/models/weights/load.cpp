#include "models/weights/load.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

constexpr size_t kMostProblems = 8;

bool is_classifier(const std::string& name) {
  return name.starts_with("fc.") || name.starts_with("head.");
}
bool is_count(const std::string& name) { return name.ends_with("num_batches_tracked"); }

void replace(std::string& text, const std::string& from, const std::string& to) {
  const auto found = text.find(from);
  if (found != std::string::npos) text.replace(found, from.size(), to);
}

// The network's own name for a parameter.
std::string own_name(std::string name, const ImageNetwork& network) {
  if (network.layout().find(name) || network.buffer_layout().find(name)) return name;

  // timm's names for LayerScale, then torchvision's for shortcuts.
  replace(name, ".ls1.gamma", ".gamma_1");
  replace(name, ".ls2.gamma", ".gamma_2");

  auto other = name;
  replace(other, ".downsample.", ".shortcut.");
  return network.layout().find(other) || network.buffer_layout().find(other) ? other : name;
}

// Removes the prefixes of DataParallel and torch.compile, in any order.
std::string unwrapped(std::string name) {
  for (;;) {
    if (name.starts_with("module."))
      name.erase(0, 7);
    else if (name.starts_with("_orig_mod."))
      name.erase(0, 10);
    else
      return name;
  }
}

bool is_known(const std::string& name, const ImageNetwork& network) {
  return network.layout().find(name) || network.buffer_layout().find(name);
}

// A suggestion for missing names: the prefix that most names of the network have in the file
// (Lightning's "model.", "encoder.", ..), or else a name from the file.
std::string proposal(const StateDict& weights, const ImageNetwork& network,
                     const LoadOptions& options) {
  std::map<std::string, std::pair<size_t, std::string>>
      prefixes;  // prefix -> number of names that fit, the first one
  for (const auto& [given, tensor] : weights) {
    // Every part of a name that ends in a dot may be the prefix.
    const auto name = unwrapped(given);
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      if (!is_known(own_name(name.substr(dot + 1), network), network)) continue;

      auto& [count, first] = prefixes[name.substr(0, dot + 1)];
      if (count++ == 0) first = given;
    }
  }

  // Of the prefixes after which at least half of the network's names follow, the most frequent one.
  const auto best = std::max_element(
      prefixes.begin(), prefixes.end(),
      [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
  if (best != prefixes.end() && best->first != options.prefix &&
      2 * best->second.first >= network.layout().entries().size())
    return fmt::format("; names in the file look like {}: set {} = \"{}\"", best->second.second,
                       options.prefix_key, best->first);
  return weights.empty() ? "; the file has no tensors"
                         : fmt::format("; the file has names such as {}", weights.begin()->first);
}

// The file's tensors with this network's names.
StateDict renamed(const StateDict& weights, const ImageNetwork& network,
                  const LoadOptions& options) {
  StateDict result;
  for (const auto& [given, tensor] : weights) {
    const auto name = unwrapped(given);
    if (!name.starts_with(options.prefix)) continue;
    result.emplace(own_name(name.substr(options.prefix.size()), network), tensor);
  }
  return result;
}

struct Copy {
  at::Tensor from, to;
};

// Collects the copies into a flat vector; misfits are added to `problems`. Removes used names from
// `weights`.
void match(const ParameterLayout& layout, const at::Tensor& flat, const LoadOptions& options,
           StateDict& weights, std::vector<Copy>& copies, std::vector<std::string>& problems) {
  for (const auto& entry : layout.entries()) {
    const auto found = weights.find(entry.name);
    if (!options.classifier && is_classifier(entry.name)) continue;

    // Counts of batches may be missing, as in files of old PyTorch: nothing depends on them.
    if (found == weights.end()) {
      if (!is_count(entry.name))
        problems.push_back(
            fmt::format("{} [{}] is not in the file", entry.name, fmt::join(entry.shape, ", ")));
      continue;
    }

    if (found->second.sizes() != at::IntArrayRef(entry.shape))
      problems.push_back(fmt::format("{} is [{}] in the file, [{}] in this network", entry.name,
                                     fmt::join(found->second.sizes(), ", "),
                                     fmt::join(entry.shape, ", ")));

    copies.push_back({found->second, parameter(flat, entry)});
    weights.erase(found);
  }
}

}  // namespace

void load_weights(const ImageNetwork& network, at::Tensor flat, at::Tensor buffers,
                  const StateDict& weights, const LoadOptions& options, const std::string& source) {
  DISSENT_CHECK(flat.defined() && flat.dim() == 1 && flat.size(0) == network.layout().size(),
                kUsage, "load_weights: flat: expected [{}], found {}", network.layout().size(),
                describe(flat));

  // Match all names first: the error lists every misfit, and nothing is copied unless all fit.
  auto left = renamed(weights, network, options);
  std::vector<Copy> copies;
  std::vector<std::string> problems;
  match(network.layout(), flat, options, left, copies, problems);
  match(network.buffer_layout(), buffers, options, left, copies, problems);
  for (const auto& [name, tensor] : left)
    if (!is_classifier(name) || (options.classifier && network.classes() > 0))
      problems.push_back(
          fmt::format("{} [{}] is not in this network", name, fmt::join(tensor.sizes(), ", ")));

  // Only a missing name suggests a prefix: wrong shapes belong to names that were found.
  const size_t count = problems.size();
  const bool missing = std::any_of(problems.begin(), problems.end(), [](const std::string& text) {
    return text.ends_with("is not in the file");
  });
  if (count > kMostProblems) problems.resize(kMostProblems);
  DISSENT_CHECK(count == 0, kData, "{}: {}{}{}", source, fmt::join(problems, "; "),
                count > kMostProblems ? fmt::format("; and {} more", count - kMostProblems) : "",
                missing ? proposal(weights, network, options) : "");

  at::NoGradGuard no_grad;
  for (auto& [from, to] : copies) to.copy_(from);
}

StateDict state_dict(const ImageNetwork& network, const at::Tensor& flat, const at::Tensor& buffers,
                     Naming naming) {
  StateDict result;
  for (const auto& entry : network.layout().entries()) {
    auto name = entry.name;
    if (naming == Naming::kTimm) {
      replace(name, ".gamma_1", ".ls1.gamma");
      replace(name, ".gamma_2", ".ls2.gamma");
    }
    result.emplace(name, parameter(flat, entry).detach().cpu().clone());
  }

  // BatchNorm's counts are floats here and i64 in PyTorch.
  for (const auto& entry : network.buffer_layout().entries()) {
    const auto values = parameter(buffers, entry).detach().cpu().clone();
    result.emplace(entry.name, is_count(entry.name) ? values.to(at::kLong) : values);
  }
  return result;
}

}  // namespace dissent
