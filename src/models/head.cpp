#include "models/head.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/options.hpp"
#include "core/parallel.hpp"
#include "models/block_head.hpp"
#include "models/linear.hpp"
#include "models/mlp_head.hpp"

namespace dissent {

at::Tensor flatten(const HeadGradient& gradient, const ParameterLayout& layout) {
  auto flat = at::zeros({layout.size()}, gradient.linear[0].dy.options());
  const bool cuda = flat.is_cuda();

  // dw = dy' x, block by block as the optimiser computes it, so the bits are the same.
  for (const auto& part : gradient.linear) {
    const auto& entry = layout.entry(part.entry);
    parallel_tasks(weight_blocks(entry.shape[0], entry.shape[1], cuda), [&](int64_t b) {
      const auto [first, count] = weight_block(entry.shape[0], entry.shape[1], cuda, b);
      auto rows = parameter(flat, entry).narrow(0, first, count);
      at::mm_out(rows, part.dy.narrow(1, first, count).t(), part.x);
    });
  }

  // Biases, norms and scales: their gradients are already summed over the batch.
  for (const auto& part : gradient.vectors)
    parameter(flat, layout.entry(part.entry)).copy_(part.value);
  return flat;
}

int64_t Head::forward_flops() const {
  int64_t flops = 0;

  // One multiplication and one addition per element of a weight; vectors are negligible.
  for (const auto& entry : layout_.entries())
    if (entry.shape.size() == 2) flops += 2 * entry.numel;
  return flops;
}

const std::vector<HeadSpec>& head_registry() {
  static const std::vector<HeadSpec> registry{
      // Name, description, citation, whether it has a hidden layer, function that makes it.
      {"block_head",
       "second half of a transformer's last block, final norm and classifier: SED's member",
       "Rubinstein et al. 2024, arXiv:2409.16797", true,
       [](int64_t dim, int64_t hidden, int64_t classes) -> std::unique_ptr<Head> {
         return std::make_unique<BlockHead>(dim, hidden, classes);
       }},
      {"mlp", "one hidden layer with ReLU", "", true,
       [](int64_t dim, int64_t hidden, int64_t classes) -> std::unique_ptr<Head> {
         return std::make_unique<MlpHead>(dim, hidden, classes);
       }},
      {"linear", "one linear layer", "", false,
       [](int64_t dim, int64_t, int64_t classes) -> std::unique_ptr<Head> {
         return std::make_unique<LinearHead>(dim, classes);
       }},
  };
  return registry;
}

std::unique_ptr<Head> make_head(const std::string& name, int64_t dim, std::optional<int64_t> hidden,
                                int64_t classes) {
  DISSENT_CHECK(dim >= 1 && classes >= 1 && hidden.value_or(1) >= 1, kUsage,
                "model '{}': expected sizes of at least 1, found dim {}, hidden {}, classes {}",
                name, dim, hidden.value_or(0), classes);

  std::vector<std::string> names;
  for (const auto& spec : head_registry()) {
    names.push_back(spec.name);
    if (spec.name != name) continue;

    auto head = spec.make(dim, hidden.value_or(4 * dim), classes);
    DISSENT_CHECK(head->classes() == classes, kInternal,
                  "model '{}': expected its last parameter to be a bias of {} classes, found {} "
                  "elements",
                  name, classes, head->classes());
    return head;
  }

  const auto near = nearest(name, names);
  DISSENT_FAIL(kUsage, "model on features: expected one of {}, found '{}'{}",
               fmt::join(names, ", "), name,
               near ? fmt::format("; did you mean '{}'?", *near) : "");
}

}  // namespace dissent
