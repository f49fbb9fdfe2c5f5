#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/networks/image_network.hpp"

namespace dissent {

struct ImageNetworkOptions {
  int64_t classes = 10;                    ///< C; 0: no classifier
  int64_t channels = 3;                    ///< of the images
  std::optional<int64_t> image_size = {};  ///< edge of the images, for networks that depend on it
                                           ///< (transformers); empty: the edge in the name
  int64_t heads = 5;                       ///< M for a multihead network
};

/// A registered network.
struct ImageNetworkSpec {
  std::string name;
  std::string meaning;
  std::string citation;
  int64_t image_size;  ///< edge of the images that it was designed for
  std::unique_ptr<ImageNetwork> (*make)(const ImageNetworkOptions& options);
};

/// The table of image networks: lenet, resnet18_32x32, resnet18_64x64, resnet18_224x224, resnet50,
/// deit3_{small,base,large}_patch16_224. Each also has a variant with M heads on one trunk, named
/// with the suffix "_multihead".
const std::vector<ImageNetworkSpec>& image_network_registry();

/// The suffix of the variants with heads.
inline constexpr std::string_view kMultiheadSuffix = "_multihead";
inline bool is_multihead(std::string_view model) { return model.ends_with(kMultiheadSuffix); }
/// All names: each network, followed by its multihead variant.
std::vector<std::string> image_network_names();

/// Error::kUsage for an unknown name (with the nearest known one) or sizes below 1.
std::unique_ptr<ImageNetwork> make_image_network(const std::string& name,
                                                 const ImageNetworkOptions& options);

/// Whether the network accepts square images of this edge, in pixels; transformers accept any edge
/// of at least a patch, since they are built for it. Reads no weights.
/// returns  empty if it does, else what it expects: "28 .. 31 pixels"
std::string image_size_misfit(const std::string& name, int64_t edge);

}  // namespace dissent
