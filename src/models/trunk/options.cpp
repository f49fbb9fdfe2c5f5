#include "models/trunk/options.hpp"

#include <vector>

#include "core/option_table.hpp"
#include "models/networks/registry.hpp"

namespace dissent {
namespace {

std::vector<std::string> trunk_names() {
  std::vector<std::string> names{kPixelTrunk, kNoTrunk};
  const auto networks = image_network_names();
  names.insert(names.end(), networks.begin(), networks.end());
  return names;
}

// f64 is for trainings only.
Names<ComputePrecision> trunk_precisions() {
  auto names = precision_names();
  std::erase_if(names, [](const auto& name) { return name.second == ComputePrecision::kF64; });
  return names;
}

using TrunkTable = OptionTable<TrunkOptions>;

// Which network, and where its weights come from.
void add_network_keys(TrunkTable& table) {
  using T = TrunkOptions;
  table
      .option("model", &T::model,
              {.meaning = "pixels: the image itself, value / 255, flattened; none: the set already "
                          "has features (synthetic); or a network",
               .choices = trunk_names()})

      // A cache stores the checksum of the weights, so the place of the file does not identify it.
      .option(
          "weights", &T::weights,
          {.meaning = "weights of the network: a safetensors or .pth file, without its "
                      "classifier; a run folder or checkpoint of an image ensemble (the moving "
                      "average of its weights if it has one); \"random\": new weights drawn from "
                      "data.seed. The cache stores their checksum",
           .scope = Scope::kExecution})
      .option(
          "member", &T::member,
          {.meaning = "for a checkpoint with several networks: index of the network; for random "
                      "weights: index of the draw",
           .min = 0})

      .option(
          "prefix", &T::prefix,
          {.meaning = "for a file: read only names with this prefix and remove it; \"nets.2.\" is "
                      "one member of an OpenOOD ensemble",
           .scope = Scope::kExecution});
}

// What is computed with it, and how.
void add_forward_keys(TrunkTable& table) {
  using T = TrunkOptions;
  table
      .option(
          "cut", &T::cut,
          {.meaning = "layer to cache: features, the input of the classifier; for DeiT-3 also "
                      "cls_after_last_attention, the class token after the attention half of the "
                      "last block (SED)"})

      // Keys of the result: both may change bits of a feature.
      .choice(
          "precision", &T::precision, trunk_precisions(),
          "precision of products and convolutions; f32 is IEEE f32; tf32 (products round f32 to "
          "10 bits of mantissa) and f16 need a GPU")
      .option(
          "batch_size", &T::batch_size,
          {.meaning = "images per forward pass; rows k batch_size .. (k + 1) batch_size - 1 of a "
                      "pass always form a batch, and missing rows are black",
           .min = 1,
           .max = 65536});
}

}  // namespace

const TableSpec& trunk_table() {
  static const TableSpec table = [] {
    TrunkTable made("trunk", "The network that computes features of images");
    add_network_keys(made);
    add_forward_keys(made);
    return made;
  }();
  return table;
}

}  // namespace dissent
