// The C++ side of scripts/compare_networks: networks, weights and transforms on tensors that come
// and go as safetensors.
//   network_peer network MODEL WEIGHTS INPUT OUTPUT
//       images [B, 3, H, W] -> logits, features, maps and each cut
//   network_peer write MODEL CLASSES OUTPUT [timm]    initial weights
//   network_peer resize INPUT OUTPUT   u8 images [H, W, 3] named KIND_HEIGHT_WIDTH_...
//   network_peer transform NAME INPUT OUTPUT   u8 images through a named transform without draws
//   network_peer corrupt INPUT OUTPUT   u8 images [H, W, 3] named CORRUPTION:SEVERITY:SEED
#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/parallel.hpp"
#include "data/transforms/transform.hpp"
#include "models/networks/registry.hpp"
#include "models/weights/load.hpp"

using namespace dissent;

namespace {

struct Filled {
  std::unique_ptr<ImageNetwork> network;
  at::Tensor flat, buffers;
};

Filled made(const std::string& model, int64_t classes) {
  Filled made{make_image_network(model, {.classes = classes}), {}, {}};
  made.flat = at::empty({made.network->layout().size()}, at::kFloat);
  made.buffers = at::empty({made.network->buffer_layout().size()}, at::kFloat);
  made.network->initialise(made.flat, 1, 0);
  made.network->initialise_buffers(made.buffers);
  return made;
}

void run_network(const std::vector<std::string>& arguments) {
  const auto weights = read_state_dict(arguments.at(1));
  const auto classifier =
      weights.count("fc.weight") > 0 ? weights.at("fc.weight") : weights.at("head.weight");
  const auto [network, flat, buffers] = made(arguments.at(0), classifier.size(0));
  load_weights(*network, flat, buffers, weights, {}, arguments.at(1));
  const auto images = read_safetensors(arguments.at(2)).at("images");
  const auto parameters = unpack(flat, network->layout());
  const auto out = network->forward(parameters, buffers, images, false);
  StateDict results{{"logits", out.logits}, {"features", out.features}, {"maps", out.maps}};
  const at::NoGradGuard no_grad;
  for (const auto& cut : network->cuts())
    results["cut." + cut] = network->features_at(cut, parameters, buffers, images);
  write_safetensors(arguments.at(3), results);
}

void write_weights(const std::vector<std::string>& arguments) {
  const auto [network, flat, buffers] = made(arguments.at(0), std::stoll(arguments.at(1)));
  write_safetensors(
      arguments.at(2),
      state_dict(*network, flat, buffers, arguments.size() > 3 ? Naming::kTimm : Naming::kOwn));
}

void run_resize(const std::vector<std::string>& arguments) {
  StateDict results;
  for (const auto& [name, image] : read_safetensors(arguments.at(0))) {
    const auto first = name.find('_'), second = name.find('_', first + 1);
    results[name] =
        resize(image, std::stoll(name.substr(first + 1)), std::stoll(name.substr(second + 1)),
               interpolation(name.substr(0, first)));
  }
  write_safetensors(arguments.at(1), results);
}

void run_transform(const std::vector<std::string>& arguments) {
  StateDict results;
  for (const auto& [name, image] : read_safetensors(arguments.at(1)))
    results[name] = transform_image(find_transform(arguments.at(0)).options, image, {});
  write_safetensors(arguments.at(2), results);
}

void run_corrupt(const std::vector<std::string>& arguments) {
  StateDict results;
  for (const auto& [name, image] : read_safetensors(arguments.at(0))) {
    const auto first = name.find(':'), second = name.find(':', first + 1);
    Random random(std::stoull(name.substr(second + 1)), Purpose::kCrop);
    results[name] =
        corrupt(image, name.substr(0, first), std::stoll(name.substr(first + 1)), random);
  }
  write_safetensors(arguments.at(1), results);
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  const std::map<std::string, void (*)(const std::vector<std::string>&)> verbs{
      {"network", run_network},
      {"write", write_weights},
      {"resize", run_resize},
      {"transform", run_transform},
      {"corrupt", run_corrupt}};
  const auto verb = verbs.find(argc > 1 ? argv[1] : "");
  if (verb == verbs.end()) return exit_code(ErrorKind::kUsage);
  try {
    verb->second(arguments);
  } catch (const std::exception& error) {
    std::cerr << "network_peer: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
