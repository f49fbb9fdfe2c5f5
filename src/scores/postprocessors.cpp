#include "scores/postprocessors.hpp"

#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/option_page.hpp"
#include "scores/postprocessor_rows.hpp"

namespace dissent::scores {
namespace {

bool is_given(const FitData& data, FitField field) {
  // Logits are also given if they can be computed from features and head.
  const auto logits = [&](const FeatureSet& set) {
    return set.logits.defined() || (set.features.defined() && data.head.weight.defined());
  };

  switch (field) {
    case FitField::kTrainFeatures: return data.train.features.defined();
    case FitField::kTrainLogits: return logits(data.train);
    case FitField::kTrainLabels: return data.train.labels.defined();
    case FitField::kValidationFeatures: return data.validation.features.defined();
    case FitField::kValidationLogits: return logits(data.validation);
    case FitField::kValidationLabels: return data.validation.labels.defined();
    case FitField::kHead: return data.head.weight.defined() && data.head.bias.defined();
  }
  DISSENT_FAIL(kInternal, "field {}: expected an input of a fit", static_cast<int>(field));
}

void check_options(const PostprocessorInfo& postprocessor, const std::any& options) {
  // Each post-processor casts the options to its own struct.
  const bool same = options.type() == postprocessor.default_options.type();
  DISSENT_CHECK(same, kUsage,
                "{}: options: expected options of this post-processor, found those of another",
                postprocessor.name);
}

}  // namespace

std::string fit_field_name(FitField field) {
  switch (field) {
    case FitField::kTrainFeatures: return "training features";
    case FitField::kTrainLogits: return "training logits";
    case FitField::kTrainLabels: return "training labels";
    case FitField::kValidationFeatures: return "validation features";
    case FitField::kValidationLogits: return "validation logits";
    case FitField::kValidationLabels: return "validation labels";
    case FitField::kHead: return "head";
  }
  DISSENT_FAIL(kInternal, "field {} has no name", static_cast<int>(field));
}

const std::vector<PostprocessorInfo>& postprocessor_table() {
  static const std::vector<PostprocessorInfo> table = [] {
    std::vector<PostprocessorInfo> all;
    for (auto* rows : {logit_rows, shaping_rows, feature_rows, neighbour_rows})
      for (auto& row : rows()) all.push_back(std::move(row));
    return all;
  }();
  return table;
}

const PostprocessorInfo& find_postprocessor(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& postprocessor : postprocessor_table()) {
    if (postprocessor.name == name) return postprocessor;
    known.push_back(postprocessor.name);
  }
  DISSENT_FAIL(kUsage, "post-processor: expected one of {}, found '{}'", fmt::join(known, ", "),
               name);
}

void set_option(const PostprocessorInfo& postprocessor, std::any& options, const std::string& key,
                const Value& value) {
  if (!options.has_value()) options = postprocessor.default_options;
  check_options(postprocessor, options);
  dissent::set_option(postprocessor.name, postprocessor.options, postprocessor.struct_of(options),
                      key, value);
}

State fit(const PostprocessorInfo& postprocessor, const FitData& data, const std::any& options) {
  const auto& given = options.has_value() ? options : postprocessor.default_options;
  check_options(postprocessor, given);

  // Checked here for all post-processors, so that the message names the missing input.
  for (const auto field : postprocessor.needs)
    DISSENT_CHECK(is_given(data, field), kUsage, "{}: {}: expected it, found nothing",
                  postprocessor.name, fit_field_name(field));
  return postprocessor.fit_function(data, given);
}

std::vector<Setting> search_settings(const PostprocessorInfo& postprocessor) {
  std::vector<Setting> settings = {{}};
  for (const auto& list : postprocessor.search) {
    // The product of the lists so far with one more list.
    std::vector<Setting> longer;
    for (const auto& setting : settings)
      for (const auto& value : list.values) {
        longer.push_back(setting);
        longer.back().emplace_back(list.key, value);
      }
    settings = std::move(longer);
  }
  return settings;
}

}  // namespace dissent::scores
