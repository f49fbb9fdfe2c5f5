#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <any>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/options.hpp"

// The one table of post-processors. Configuration, documentation and error messages come from it.
namespace dissent::scores {

/// What a fit reads of FitData. Logits are there too where features and head are.
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

/// Values that OpenOOD's search tries for an option, for the largest AUROC on validation sets.
struct SearchList {
  std::string key;
  std::vector<Value> values;
};

/// One row of the table.
struct PostprocessorInfo {
  std::string name, summary, formula, citation;
  std::string answers;  ///< what it says where the reference has no usable answer, or empty
  std::vector<FitField> needs = {};  ///< of fit
  bool scores_features = false;      ///< whether score reads features, or may be given none
  bool scores_logits = false;
  bool wide = false;  ///< scoring a block takes all threads: nothing else is run beside it
  std::vector<SearchList> search = {};  ///< in the reference's order
  TableSpec options = {};               ///< [postprocessor.<name>]
  std::any default_options = {};        ///< the struct that `options` is bound to
  std::function<void*(std::any&)> struct_of =
      {};  ///< that struct inside options, nullptr if they are of another post-processor
  std::function<State(const FitData&, const std::any&)> fit_function = {};
  std::function<at::Tensor(const State&, const at::Tensor& features, const at::Tensor& logits)>
      score = {};
};

/// All post-processors, in the order of the docs.
const std::vector<PostprocessorInfo>& postprocessor_table();
/// The one of this name. Throws Error::kUsage that lists the known names.
const PostprocessorInfo& find_postprocessor(const std::string& name);

/// Puts a value into options (empty: the defaults first). Throws Error::kUsage as
/// losses::set_option.
void set_option(const PostprocessorInfo& postprocessor, std::any& options, const std::string& key,
                const Value& value);

/// The state fitted with these options (empty: the defaults). Throws Error::kUsage: an input that
/// is missing, options of another post-processor, and what the function itself refuses.
State fit(const PostprocessorInfo& postprocessor, const FitData& data,
          const std::any& options = {});

/// Every combination of the search lists, the last list fastest; one empty setting if there is
/// nothing to search.
using Setting = std::vector<std::pair<std::string, Value>>;
std::vector<Setting> search_settings(const PostprocessorInfo& postprocessor);

/// docs/scores.md.
std::string scores_page();

}  // namespace dissent::scores
