#include <cstdint>

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/hard_sample_weight.hpp>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor a2d(const at::Tensor& logits, int64_t m) {
  check_outputs("a2d", "logits", logits, 2);
  return a2d_probabilities(at::softmax(logits, -1), m);
}

at::Tensor a2d_probabilities(const at::Tensor& probabilities, int64_t m) {
  check_outputs("a2d", "probabilities", probabilities, 2);
  const int64_t members = probabilities.size(0), rows = probabilities.size(1),
                classes = probabilities.size(2);
  check_index("a2d", "m", m, members);

  // The indices of all members but m, and the class that each of them predicts. They are computed
  // on the device, because a step may be recorded as a CUDA graph.
  const auto options = at::TensorOptions(at::kLong).device(probabilities.device());
  auto other = at::arange(members - 1, options).unsqueeze(1);  // [M-1, 1]
  other = other + other.ge(m);
  const auto row = at::arange(rows, options).unsqueeze(0);                               // [1, B]
  const auto top = probabilities.detach().argmax(-1).index_select(0, other.squeeze(1));  // [M-1, B]

  // p_i and p_m at these classes in one read: its backward pass fills one tensor of the size of the
  // probabilities. index_select instead of take(), which has no deterministic derivative on a GPU
  // (runtime.deterministic).
  const auto of_others = (other * rows + row) * classes + top;
  const auto of_m = (row + m * rows) * classes + top;
  const auto read = probabilities.reshape({-1})
                        .index_select(0, at::stack({of_others, of_m}).view({-1}))
                        .view({2, members - 1, rows});
  const auto p = read.select(0, 0), q = read.select(0, 1);

  // -log of the probability that exactly one of the two members predicts the class.
  return -(p * (1 - q) + q * (1 - p) + kA2dEps).log().mean(0);
}

namespace {

at::Tensor evaluate_a2d(const LossInput& input, const A2dOptions& options) {
  const auto value = a2d(input.logits, input.drawn_member);
  if (options.sample_weight == SampleWeight::kNone) return value.mean();
  return (value * hard_sample_weight(input.logits, input.labels)).mean();
}

void adjust_a2d(const A2dOptions& options, LossTraits& traits) {
  if (options.sample_weight == SampleWeight::kNone) return;
  // The weights need the labels and the mean of the whole batch.
  traits.needs.push_back(Field::kLabels);
  traits.nonlinear_in_batch = true;
  traits.weights_hard_samples = true;
}

}  // namespace

LossInfo a2d_info() {
  static_assert(kA2dEps == 1e-9);  // as the formula has it
  return loss_info<A2dOptions>(
      {.name = "a2d",
       .summary = "Makes one randomly drawn member disagree with each other member on the class "
                  "that the other one predicts",
       .formula = "mean over b, i != m of -log(p_i (1 - p_m) + p_m (1 - p_i) + 1e-9), both at "
                  "the class argmax p_i",
       .citation = "Pagliardini et al., Agree to Disagree, ICLR 2023; hard samples: Rubinstein "
                   "et al., Scalable Ensemble Diversification, arXiv 2409.16797",
       .kind = LossKind::kDiversity,
       // p_m is the drawn member, p_i each other one: all members enter, so ranks exchange logits.
       .traits = {.needs = {Field::kLogits, Field::kDrawnMember},
                  .exchanged = {Field::kLogits},
                  .min_members = 2},
       .traits_note = "sample_weight = hard: also needs labels, and is not a mean over samples"},
      OptionTable<A2dOptions>("loss.a2d", "A2D")
          .choice("sample_weight", &A2dOptions::sample_weight,
                  {{"none", SampleWeight::kNone}, {"hard", SampleWeight::kHard}},
                  "hard: weight each sample by h_b / (mean h)^2, where h is the cross-entropy of "
                  "the mean logits, without gradient"),
      evaluate_a2d, adjust_a2d);
}

}  // namespace dissent::losses
