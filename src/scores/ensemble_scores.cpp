#include <cstdint>

#include <dissent/scores/ensemble_scores.hpp>
#include <dissent/shared_constants.hpp>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

at::Tensor checked(const char* score, const at::Tensor& outputs, InputKind kind,
                   int64_t min_members = 1) {
  check_outputs(score, "outputs", outputs, min_members, 0);
  return probabilities(outputs, kind);
}

}  // namespace

at::Tensor pds(const at::Tensor& outputs, InputKind kind) {
  return checked("pds", outputs, kind).amax(0).sum(-1);
}

at::Tensor different_predictions(const at::Tensor& outputs, InputKind kind) {
  const auto sorted =
      std::get<0>(checked("different_predictions", outputs, kind).argmax(-1).sort(0));

  // Classes are sorted over members: each change is one more class.
  const int64_t members = outputs.size(0);
  const auto changes = sorted.slice(0, 1, members).ne(sorted.slice(0, 0, members - 1)).sum(0);
  return (changes + 1).to(outputs.scalar_type());
}

at::Tensor ensemble_entropy(const at::Tensor& outputs, InputKind kind) {
  return entropy(checked("ensemble_entropy", outputs, kind).mean(0));
}

at::Tensor member_entropies(const at::Tensor& outputs, InputKind kind) {
  return entropy(checked("member_entropies", outputs, kind)).t();
}

at::Tensor average_entropy(const at::Tensor& outputs, InputKind kind) {
  return entropy(checked("average_entropy", outputs, kind)).mean(0);
}

at::Tensor mutual_information(const at::Tensor& outputs, InputKind kind,
                              MutualInformation definition) {
  const auto p = checked("mutual_information", outputs, kind);

  // I = H(mean p) - mean H(p) >= 0 per sample; with the mean over the batch, as released, it may be
  // negative.
  const auto average = entropy(p).mean(0);
  return entropy(p.mean(0)) -
         (definition == MutualInformation::kPerSample ? average : average.mean());
}

at::Tensor average_energy(const at::Tensor& logits) {
  check_outputs("average_energy", "logits", logits, 1, 0);
  return logits.logsumexp(-1).mean(0).neg();
}

at::Tensor average_max_logit(const at::Tensor& logits) {
  check_outputs("average_max_logit", "logits", logits, 1, 0);
  return logits.amax(-1).mean(0).neg();
}

at::Tensor a2d_score(const at::Tensor& outputs, InputKind kind) {
  const auto p = checked("a2d_score", outputs, kind, 2);
  const int64_t members = p.size(0);

  // read[m, b, i] is the probability that member m gives to the class that i predicts.
  const auto top = p.argmax(-1).t().unsqueeze(0).expand({members, -1, members});
  const auto read = p.gather(2, top);

  // own[b, i] is the largest probability of member i. For each ordered pair: log(p_i (1 - p_m) +
  // p_m (1 - p_i)), at the class that i predicts; pairs of a member with itself are left out.
  const auto own = read.diagonal(0, 0, 2).unsqueeze(0);  // [1, B, M]
  const auto value = (own * (1 - read) + read * (1 - own) + kA2dEps).log();
  const auto other = 1 - at::eye(members, p.options());
  return (value * other.unsqueeze(1)).sum(at::IntArrayRef{0, 2}) /
         static_cast<double>(members * (members - 1));
}

at::Tensor similarity(const at::Tensor& outputs, InputKind kind) {
  const auto p = checked("similarity", outputs, kind).transpose(0, 1).contiguous();
  constexpr int64_t kWithoutProduct =
      2;  // the faster way by a matrix product gives nonzero distances of a member to itself
  return at::cdist(p, p, 2.0, kWithoutProduct).mean(at::IntArrayRef{1, 2});
}

at::Tensor msp(const at::Tensor& outputs, InputKind kind) {
  check_outputs("msp", "outputs", outputs, 1, 0);
  return probabilities(outputs.mean(0), kind).amax(-1);
}

at::Tensor mean_member_confidence(const at::Tensor& outputs, InputKind kind) {
  return checked("mean_member_confidence", outputs, kind).amax(-1).mean(0);
}

}  // namespace dissent::scores
