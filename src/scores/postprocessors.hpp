#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <any>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/options.hpp"

// The table of post-processors, from which configuration, documentation and error messages are
// made.
namespace dissent::scores {

/// What a fit reads of FitData. Logits may be given as features and head.
enum class FitField {
  kTrainFeatures,
  kTrainLogits,
  kTrainLabels,
  kValidationFeatures,
  kValidationLogits,
  kValidationLabels,
  kHead
};
/// "training features", "head", ..
std::string fit_field_name(FitField field);

/// Values of an option in OpenOOD's search for the largest AUROC on validation sets.
struct SearchList {
  std::string key;
  std::vector<Value> values;
};

/// One entry of the table.
struct PostprocessorInfo {
  std::string name, summary, formula, citation;
  std::string answers;  ///< result in cases without a usable result in the reference; may be empty
  std::vector<FitField> needs = {};  ///< of fit
  bool scores_features = false;      ///< whether score reads features
  bool scores_logits = false;
  bool wide = false;  ///< scoring a block uses all threads: nothing else runs at the same time
  std::vector<SearchList> search = {};  ///< in the reference's order
  TableSpec options = {};               ///< [postprocessor.<name>]
  std::any default_options = {};        ///< the struct that `options` is bound to
  std::function<void*(std::any&)> struct_of =
      {};  ///< that struct inside options; nullptr for options of another post-processor
  std::function<State(const FitData&, const std::any&)> fit_function = {};
  std::function<at::Tensor(const State&, const at::Tensor& features, const at::Tensor& logits)>
      score = {};
};

/// All post-processors, in the order of the docs.
const std::vector<PostprocessorInfo>& postprocessor_table();
/// The post-processor of this name. Throws Error::kUsage that lists the known names.
const PostprocessorInfo& find_postprocessor(const std::string& name);

/// Sets a value in options (empty: starts from the defaults). Throws Error::kUsage as
/// losses::set_option.
void set_option(const PostprocessorInfo& postprocessor, std::any& options, const std::string& key,
                const Value& value);

/// The state fitted with these options (empty: the defaults). Throws Error::kUsage for a missing
/// input, options of another post-processor, and the errors of the fit itself.
State fit(const PostprocessorInfo& postprocessor, const FitData& data,
          const std::any& options = {});

/// Every combination of the search lists, the last list fastest; one empty setting if there is
/// nothing to search.
using Setting = std::vector<std::pair<std::string, Value>>;
std::vector<Setting> search_settings(const PostprocessorInfo& postprocessor);

/// docs/scores.md.
std::string scores_page();

}  // namespace dissent::scores
