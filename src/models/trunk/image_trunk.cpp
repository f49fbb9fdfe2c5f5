#include "models/trunk/image_trunk.hpp"

#include <xxhash.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/document.hpp"
#include "core/regular_file.hpp"
#include "models/networks/autocast.hpp"
#include "models/networks/registry.hpp"
#include "models/weights/load.hpp"
#include "storage/checkpoint.hpp"
#include "storage/run_folder.hpp"

namespace dissent {
namespace {

namespace fs = std::filesystem;

struct Loaded {
  std::unique_ptr<const ImageNetwork> network;
  at::Tensor parameters, buffers;  // [P], [Q] f32
};

Loaded empty_network(const std::string& model, const ImageNetworkOptions& options) {
  Loaded loaded{make_image_network(model, options), {}, {}};
  loaded.parameters = at::zeros({loaded.network->layout().size()}, at::kFloat);
  loaded.buffers = at::zeros({loaded.network->buffer_layout().size()}, at::kFloat);

  // Random weights keep these statistics; those of a file or checkpoint replace them.
  loaded.network->initialise_buffers(loaded.buffers);
  return loaded;
}

bool is_hdf5(const std::string& path) {
  expect_regular_file(path);
  char first[4] = {};
  std::ifstream(path, std::ios::binary).read(first, sizeof first);
  return std::string_view(first, 4) == "\x89HDF";
}

// A value of the configuration stored in a checkpoint.
template <class T>
T config_value(const config::Document& document, const char* key, const std::string& path) {
  const auto* node = document.find(key);
  const auto* value = node ? std::get_if<T>(&node->data) : nullptr;
  DISSENT_CHECK(
      value, kData,
      "{}: expected a checkpoint of an image ensemble, found one whose configuration has no "
      "{}",
      path, key);
  return *value;
}

Loaded from_checkpoint(const std::string& path, const TrunkOptions& options, int64_t image_size) {
  const CheckpointReader file(path);
  const auto document = config::load_document(
      config::read_sources(path + " (its configuration)", file.config_text()));

  // The network is the one of the checkpoint's configuration.
  const auto model = config_value<std::string>(document, "ensemble.model", path);
  DISSENT_CHECK(model == options.model, kUsage,
                "trunk.model: expected \"{}\" (the network of {}), found \"{}\"", model, path,
                options.model);
  auto loaded =
      empty_network(model, {.classes = file.integer("classes"),
                            .channels = 3,
                            .image_size = image_size,
                            .heads = config_value<int64_t>(document, "ensemble.members", path)});

  // A run has one network per member, or a single multihead network.
  const auto& entries = loaded.network->layout().entries();
  const int64_t networks = file.shape(kMembersPrefix + entries.front().name).at(0);
  DISSENT_CHECK(options.member || networks == 1, kUsage,
                "trunk.member: expected 0 .. {} (one network of {}), found nothing", networks - 1,
                path);

  const int64_t member = options.member.value_or(0);
  DISSENT_CHECK(member < networks, kUsage,
                "trunk.member: expected 0 .. {} (one network of {}), found {}", networks - 1, path,
                member);

  // The moving average of the weights is preferred over the weights themselves.
  const auto read = [&](const std::string& group, const ParameterLayout& layout,
                        const at::Tensor& flat) {
    for (const auto& entry : layout.entries()) {
      file.expect_shape(group + entry.name, networks, entry.shape, member);
      parameter(flat, entry).copy_(file.read_slab(group + entry.name, member, 1)[0]);
    }
  };

  read(file.has(kAveragePrefix + entries.front().name) ? kAveragePrefix : kMembersPrefix,
       loaded.network->layout(), loaded.parameters);
  read(kBuffersPrefix, loaded.network->buffer_layout(), loaded.buffers);
  return loaded;
}

Loaded from_file(const std::string& path, const TrunkOptions& options, int64_t image_size) {
  DISSENT_CHECK(
      !options.member, kUsage,
      "trunk.member: expected none, since {} is not a checkpoint of an ensemble, found {} "
      "(trunk.prefix selects one of several networks in a file)",
      path, *options.member);

  // The classifier of a file is not read: caches need features only.
  auto loaded = empty_network(options.model,
                              {.classes = 0, .channels = 3, .image_size = image_size, .heads = 1});
  load_weights(*loaded.network, loaded.parameters, loaded.buffers, read_state_dict(path),
               {.prefix = options.prefix, .prefix_key = "trunk.prefix", .classifier = false}, path);
  return loaded;
}

Loaded load(const TrunkOptions& options, int64_t image_size, uint64_t seed) {
  DISSENT_CHECK(!options.weights.empty(), kUsage,
                "trunk.weights: expected the weights of {}: a file, a run folder, a checkpoint, or "
                "\"random\"; found nothing",
                options.model);

  // Features do not pass the classifier, so the network is made without one. A multihead network
  // needs at least one class.
  const bool multihead = is_multihead(options.model);
  if (options.has_random_weights()) {
    auto loaded = empty_network(
        options.model,
        {.classes = multihead ? 1 : 0, .channels = 3, .image_size = image_size, .heads = 1});

    loaded.network->initialise(loaded.parameters, seed, options.member.value_or(0));
    return loaded;
  }

  // A file is distinguished from a checkpoint by its contents, not by its name.
  DISSENT_CHECK(fs::exists(options.weights), kData,
                "trunk.weights ({}): expected a safetensors or .pth file, a run folder or a "
                "checkpoint, found nothing; a training that writes it has to finish first",
                options.weights);

  const std::string path =
      fs::is_directory(options.weights) ? options.weights + "/" + kCheckpointFile : options.weights;
  DISSENT_CHECK(fs::exists(path), kData,
                "trunk.weights ({}): expected a run folder with checkpoint.h5, found a folder "
                "without one; its training may not have written one yet",
                options.weights);

  // A folder always stands for a run.
  if (path != options.weights || is_hdf5(path)) return from_checkpoint(path, options, image_size);

  DISSENT_CHECK(!multihead, kUsage,
                "trunk.model: expected a model without \"{}\", since the weights are not a "
                "checkpoint of an ensemble; found \"{}\"",
                kMultiheadSuffix, options.model);
  return from_file(path, options, image_size);
}

at::ScalarType compute_dtype(ComputePrecision precision) {
  // tf32 is a setting of the GPU's products, not a dtype of tensors.
  switch (precision) {
    case ComputePrecision::kBf16: return at::kBFloat16;
    case ComputePrecision::kF16: return at::kHalf;
    default: return at::kFloat;
  }
}

std::string checksum_of(const Loaded& loaded) {
  // Of values, not of files: the same weights have the same checksum in every format.
  std::array<uint64_t, 2> hashes{};
  for (size_t i = 0; const auto& flat : {loaded.parameters, loaded.buffers})
    hashes[i++] = XXH3_64bits(flat.const_data_ptr<float>(), flat.nbytes());
  return fmt::format("xxh3:{:016x}", XXH3_64bits(hashes.data(), sizeof hashes));
}

}  // namespace

ImageTrunk::ImageTrunk(const TrunkOptions& options, int64_t image_size, uint64_t seed,
                       at::Device device)
    : cut_(options.cut), compute_(compute_dtype(options.precision)), device_(device) {
  const bool needs_gpu =
      options.precision == ComputePrecision::kF16 || options.precision == ComputePrecision::kTf32;
  DISSENT_CHECK(device.is_cuda() || !needs_gpu, kUsage,
                "trunk.precision = \"{}\": expected a GPU, found none",
                precision_name(options.precision));
  auto loaded = load(options, image_size, seed);

  // The cuts are known once the network exists.
  const auto cuts = loaded.network->cuts();
  const auto near = nearest(cut_, cuts);
  DISSENT_CHECK(std::find(cuts.begin(), cuts.end(), cut_) != cuts.end(), kUsage,
                "trunk.cut: expected one of {1} ({0}), found \"{2}\"{3}", options.model,
                fmt::join(cuts, ", "), cut_,
                near ? fmt::format("; did you mean '{}'?", *near) : "");

  checksum_ = checksum_of(loaded);

  network_ = std::move(loaded.network);
  parameters_ = loaded.parameters.to(device);
  buffers_ = loaded.buffers.to(device);

  // Views for every forward pass, made once.
  unpacked_ = unpack(parameters_, network_->layout());
}

at::Tensor ImageTrunk::features(const at::Tensor& x) const {
  const at::NoGradGuard no_graph;
  const Autocast half(device_.type(), compute_);
  return network_->features_at(cut_, unpacked_, buffers_, x.to(device_)).to(at::kFloat).cpu();
}

}  // namespace dissent
