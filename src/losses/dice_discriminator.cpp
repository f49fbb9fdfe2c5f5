#include <dissent/losses/dice_discriminator.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include <fmt/ranges.h>

#include "core/random.hpp"
#include "core/tensor_check.hpp"

namespace dissent::losses {
namespace {

// Key of the random numbers in place of a member's number, which is always below.
constexpr uint64_t kDiscriminator = uint64_t{1} << 32;

void check_parameters(const std::vector<at::Tensor>& parameters, const at::Tensor& features,
                      const DiceOptions& options) {
  DISSENT_CHECK(parameters.size() >= 3 && parameters.size() % 2 == 1 && parameters[0].defined() &&
                    parameters[0].dim() == 2,
                kUsage,
                "dice_discriminator: parameters: expected label_embedding [C, E], then W and b of "
                "each layer, found {} tensors",
                parameters.size());

  // The sizes of the layers are those of the parameters themselves, so that any options are
  // accepted; only what follows from them is checked.
  DiceOptions given = options;
  given.label_dim = parameters[0].size(1);
  given.units.clear();
  for (size_t i = 1; i + 2 < parameters.size(); i += 2)
    given.units.push_back(parameters[i].defined() && parameters[i].dim() > 0 ? parameters[i].size(0)
                                                                             : 1);

  const auto shapes = dice_discriminator_shapes(parameters[0].size(0), features.size(2), given);
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto& tensor = parameters[i];
    const bool fits = tensor.defined() && tensor.sizes() == at::IntArrayRef(shapes[i]) &&
                      tensor.scalar_type() == features.scalar_type() &&
                      tensor.device() == features.device();
    DISSENT_CHECK(fits, kUsage, "dice_discriminator: parameters[{}]: expected [{}] {} {}, found {}",
                  i, fmt::join(shapes[i], ", "), c10::toString(features.scalar_type()),
                  features.device().str(), describe(tensor));
  }
}

at::Tensor uniform(const std::vector<int64_t>& shape, double bound, const Random& random) {
  auto values = at::empty(shape, at::kDouble);
  fill_uniform(values, -bound, bound, random);
  return values;
}

// Layers after the first, on hidden units [P, B, U] before their activation.
at::Tensor remaining_layers(const std::vector<at::Tensor>& parameters, at::Tensor hidden,
                            double slope) {
  for (size_t layer = 3; layer < parameters.size(); layer += 2)
    hidden = at::linear(at::leaky_relu(hidden, slope), parameters[layer], parameters[layer + 1]);
  return hidden.squeeze(-1);
}

}  // namespace

std::vector<std::vector<int64_t>> dice_discriminator_shapes(int64_t classes, int64_t features,
                                                            const DiceOptions& options) {
  const auto at_least_one = [](const char* name, int64_t value) {
    DISSENT_CHECK(value >= 1, kUsage, "dice_discriminator: {}: expected 1 or more, found {}", name,
                  value);
  };

  at_least_one("classes", classes);
  at_least_one("features", features);
  at_least_one("label_dim", options.label_dim);

  // The label embedding, then weight and bias of each layer down to the one output.
  std::vector<std::vector<int64_t>> shapes = {{classes, options.label_dim}};
  int64_t width = 2 * features + options.label_dim;
  for (const int64_t units : options.units) {
    at_least_one("units", units);
    shapes.insert(shapes.end(), {{units, width}, {units}});
    width = units;
  }
  shapes.insert(shapes.end(), {{1, width}, {1}});
  return shapes;
}

std::vector<at::Tensor> make_dice_discriminator(int64_t classes, int64_t features, uint64_t seed,
                                                const DiceOptions& options, at::ScalarType dtype) {
  std::vector<at::Tensor> parameters;
  double bound = 0;
  for (const auto& shape : dice_discriminator_shapes(classes, features, options)) {
    const Random random(seed, Purpose::kWeights, kDiscriminator, parameters.size());
    if (parameters.empty()) {
      // The embedding: standard normal numbers, by the inverse error function of uniform ones in
      // (-1, 1), both ends excluded.
      parameters.push_back(
          (uniform(shape, 1, random) + 0x1p-32).erfinv().mul(std::sqrt(2.0)).to(dtype));
      continue;
    }
    // The bound of a weight holds for the bias that follows it too.
    if (shape.size() == 2) bound = 1 / std::sqrt(static_cast<double>(shape[1]));
    parameters.push_back(uniform(shape, bound, random).to(dtype));
  }
  return parameters;
}

at::Tensor dice_pair_logits(const std::vector<at::Tensor>& parameters, const at::Tensor& features,
                            const at::Tensor& labels, const DiceOptions& options,
                            const at::Tensor& partner_rows) {
  check_outputs("dice_pair_logits", "features", features, 2);
  check_parameters(parameters, features, options);
  check_labels("dice_pair_logits", "labels", labels, features.size(1), parameters[0].size(0),
               features.device());

  std::vector<int64_t> first, second;
  for (const auto& [i, j] : member_pairs(features.size(0))) {
    first.push_back(i);
    second.push_back(j);
  }

  const auto index = [&](const std::vector<int64_t>& members) {
    return at::tensor(members, at::kLong).to(features.device());
  };

  // The first layer is linear in [z1, z2, embedding]: its three parts are computed once per member
  // and added for each pair.
  const int64_t dim = features.size(2);
  const auto& weight = parameters[1];
  const auto as_first = at::linear(features, weight.narrow(1, 0, dim));
  auto as_second = at::linear(features, weight.narrow(1, dim, dim));  // [M, B, U0]
  if (partner_rows.defined()) {
    check_labels("dice_pair_logits", "partner_rows", partner_rows, features.size(1),
                 features.size(1), features.device());
    as_second = as_second.index_select(1, partner_rows);
  }

  const auto of_label =
      at::linear(parameters[0].index_select(0, labels),
                 weight.narrow(1, 2 * dim, weight.size(1) - 2 * dim), parameters[2]);  // [B, U0]
  const auto hidden =
      as_first.index_select(0, index(first)) + as_second.index_select(0, index(second)) + of_label;
  return remaining_layers(parameters, hidden, options.leaky_slope);
}

DiscriminatorLoss dice_discriminator_loss(const at::Tensor& joint, const at::Tensor& product) {
  const bool fits = joint.defined() && product.defined() && joint.dim() == 2 && joint.numel() > 0 &&
                    joint.sizes() == product.sizes() &&
                    joint.scalar_type() == product.scalar_type() &&
                    joint.device() == product.device() && at::isFloatingType(joint.scalar_type());
  DISSENT_CHECK(fits, kUsage,
                "dice_discriminator_loss: joint, product: expected two of one shape [P >= 1, B >= "
                "1], dtype and device, found {} and {}",
                describe(joint), describe(product));

  // Binary cross-entropy: logits of joint pairs should be positive, those of pairs whose partner is
  // another sample of the class negative.
  const auto value = -0.5 * (at::log_sigmoid(joint).mean() + at::log_sigmoid(product.neg()).mean());
  const at::NoGradGuard no_grad;

  // The share of right answers, for each pair of members.
  const auto share = [](const at::Tensor& right) { return right.to(at::kFloat).mean(1); };  // [P]
  return {value, 0.5 * (share(joint > 0) + share(product < 0))};
}

DiscriminatorLoss dice_discriminator_loss(const std::vector<at::Tensor>& parameters,
                                          const at::Tensor& features, const at::Tensor& labels,
                                          const DiceOptions& options) {
  DISSENT_CHECK(
      features.defined(), kUsage,
      "dice_discriminator_loss: features: expected [M >= 2, B >= 1, D >= 1] of f32 or f64, "
      "found nothing");

  // The discriminator learns on constant features; the partner of a sample is the one before it in
  // its class, so that both have the same label.
  const auto constant = features.detach();
  return dice_discriminator_loss(
      dice_pair_logits(parameters, constant, labels, options),
      dice_pair_logits(parameters, constant, labels, options, roll_within_class(labels)));
}

}  // namespace dissent::losses
