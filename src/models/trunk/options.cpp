#include "models/trunk/options.hpp"

#include "models/networks/registry.hpp"

namespace dissent {
namespace {

std::vector<std::string> trunk_names() {
  std::vector<std::string> names{"pixels", "none"};
  for (const auto& spec : image_network_registry())
    names.insert(names.end(), {spec.name, spec.name + "_multihead"});
  return names;
}

}  // namespace

const TableSpec& trunk_table() {
  using T = TrunkOptions;
  static const TableSpec table =
      TableOf<T>("trunk", "What makes features of images")
          .option("model", &T::model,
                  {.meaning = "pixels: the image itself, value / 255, flattened; none: the set is "
                              "features already (synthetic); or a network",
                   .choices = trunk_names()})
          .option("weights", &T::weights,
                  {.meaning = "of a network: a safetensors or .pth file, its classifier is not "
                              "read; a run folder or checkpoint of an image ensemble (the moving "
                              "average of its weights where it keeps one); \"random\": new ones, "
                              "drawn from data.seed. The cache keeps their checksum",
                   .scope = Scope::kExecution})
          .option("member", &T::member,
                  {.meaning = "of a checkpoint with several networks: which, from 0; of random "
                              "weights: a draw of its own",
                   .min = 0})
          .option("prefix", &T::prefix,
                  {.meaning = "of a file: only names that begin with it, without it; \"nets.2.\" "
                              "is one member of an OpenOOD ensemble",
                   .scope = Scope::kExecution})
          .option("cut", &T::cut,
                  {.meaning = "layer that is cached: features, what the classifier reads; of "
                              "DeiT-3 also cls_after_last_attention, the class token behind the "
                              "attention half of the last block (SED)"})
          .option(
              "precision", &T::precision,
              {.meaning = "of products and convolutions; f32 is IEEE f32; tf32 (f32 rounded to 10 "
                          "bits of mantissa in them) and f16 need a GPU",
               .choices = {"f32", "tf32", "bf16", "f16"}})
          .option("batch_size", &T::batch_size,
                  {.meaning = "images of a forward pass, always this many: a thread or GPU takes "
                              "rows k batch_size .. (k + 1) batch_size of a pass, and what it has "
                              "not of them is black",
                   .min = 1,
                   .max = 65536});
  return table;
}

}  // namespace dissent
