#include "train/run/divergence.hpp"

#include <cmath>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dissent {

std::string members_text(const std::vector<int64_t>& members) {
  return fmt::format("{} {}", members.size() == 1 ? "member" : "members", fmt::join(members, ", "));
}

std::string bad_members(const at::Tensor& outputs, const std::vector<int64_t>& members) {
  if (!outputs.defined() || outputs.numel() == 0) return "";

  // One copy to the host serves all members, whose outputs may be on a GPU.
  const auto rows = outputs.detach().flatten(1);
  const auto finite = rows.isfinite().all(1).cpu();
  std::vector<int64_t> bad;
  for (size_t i = 0; i < members.size(); ++i)
    if (!finite[static_cast<int64_t>(i)].item<bool>()) bad.push_back(members[i]);
  if (!bad.empty()) return fmt::format("outputs of {} are not finite", members_text(bad));

  // A loss may overflow although all outputs are finite: then the largest one is the suspect.
  const auto largest = rows.abs().amax(1).cpu();
  const auto at = largest.argmax().item<int64_t>();
  return fmt::format("outputs of all members are finite, the largest is {:.3g} of member {}",
                     largest[at].item<double>(), members[static_cast<size_t>(at)]);
}

std::string divergence_message(const Divergence& divergence,
                               const std::vector<losses::LossTerm>& terms,
                               const std::vector<double>& values) {
  // Evidence: the value of each term and the members concerned. Advice: lower what diverges.
  std::vector<std::string> found, lower;
  for (size_t t = 0; t < terms.size() && t < values.size(); ++t) {
    found.push_back(fmt::format("loss.{} is {:.4g}", terms[t].name, values[t]));
    if (!std::isfinite(values[t]) && terms.size() > 1)
      lower.push_back(fmt::format(", a smaller loss.{}.weight", terms[t].name));
  }
  if (!divergence.members.empty()) found.push_back(divergence.members);

  return fmt::format(
      "training (epoch {}, step {}): expected a finite {}, found {}: training has diverged{}{}; "
      "try a smaller optimizer.learning_rate ({:.3g} in this step), training.clip_norm{}; "
      "training.on_nan = \"skip_step\" skips such steps",
      divergence.epoch, divergence.step, divergence.what, divergence.found,
      found.empty() ? "" : ": ", fmt::join(found, ", "), divergence.learning_rate,
      fmt::join(lower, ""));
}

}  // namespace dissent
