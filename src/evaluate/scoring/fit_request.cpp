#include "evaluate/scoring/fit_request.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dissent {
namespace {

// The part of a key that names the target.
struct TargetName {
  const Predictor& predictor;
  std::string operator()(const PostprocessorFit& fit) const {
    const bool means = reads_mean_probabilities(fit.form, predictor);
    return fit.post->name + (means ? ":mean_probabilities" : "");
  }
  std::string operator()(const ShapingFit& fit) const { return option_name(fit.shaping) + "+"; }
  std::string operator()(const VectorScalingFit&) const { return "vector+"; }
  std::string operator()(const ConformalFit&) const { return "conformal+"; }
};

struct TargetOptions {
  std::string operator()(const PostprocessorFit& fit) const {
    return options_text(*fit.post, fit.options);
  }
  std::string operator()(const ShapingFit& fit) const {
    return options_text(scores::find_postprocessor(option_name(fit.shaping)), fit.options);
  }
  std::string operator()(const VectorScalingFit&) const { return ""; }
  std::string operator()(const ConformalFit&) const { return ""; }
};

}  // namespace

bool reads_mean_probabilities(ScoreForm form, const Predictor& predictor) {
  return predictor.combined && form == ScoreForm::kMeanProbabilities;
}

std::string options_text(const scores::PostprocessorInfo& post, std::any options) {
  if (!options.has_value()) return "";
  std::vector<std::string> parts;

  // Options of execution (block_rows) change no bit, so states with other values can be reused.
  for (const auto& option : post.options.options)
    if (option.info.scope == Scope::kResult)
      parts.push_back(fmt::format("{} = {}", option.key, option.text(post.struct_of(options))));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string StateKey::text() const { return fmt::format("{}|{}|{}", predictor, target, options); }

StateKey state_key(const Predictor& predictor, const FitTarget& target) {
  return {predictor.name, std::visit(TargetName{predictor}, target),
          std::visit(TargetOptions{}, target)};
}

}  // namespace dissent
