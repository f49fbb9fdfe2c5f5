#pragma once
#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <dissent/error.hpp>
#include <dissent/scores/input.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dissent::cli {

using NamedTensors = std::map<std::string, at::Tensor>;

/// One reference case: what its group holds. Tensors are f64 or i64 on the CPU.
struct Case {
  std::string file, key, kind, name;
  std::string note;  ///< or empty
  nlohmann::json params;
  double rtol = 0, atol = 0;
  NamedTensors in, out, grad;

  bool has_input(const std::string& input) const { return in.count(input) > 0; }
  /// in/<input>; Error::kData if there is none.
  const at::Tensor& input(const std::string& input) const;
  /// A copy of in/<input> that gradients are taken with respect to.
  at::Tensor differentiable(const std::string& input) const;
  /// Whether the parameter is there and not null.
  bool has(const std::string& parameter) const {
    return params.contains(parameter) && !params.at(parameter).is_null();
  }
  template <class T>
  T param(const std::string& parameter) const {
    DISSENT_CHECK(has(parameter), kData, "{}: case {}: no parameter '{}'", file, key, parameter);
    return params.at(parameter).get<T>();
  }
};

/// All cases of a file, in the order of their names.
std::vector<Case> read_cases(const std::string& path);

/// The largest difference of a failed case, measured in tolerances.
struct Difference {
  std::string output;  ///< "out/value[3]"
  double ours = 0, reference = 0, tolerance = 0;
  double excess = 0;  ///< abs(ours - reference) / tolerance, infinite for NaN against a number
};

/// Compares a handler's results with a case.
class Checker {
 public:
  explicit Checker(const Case& reference) : case_(reference) {}
  /// A result for out/<name>; ignored if the case does not hold that output.
  void output(const std::string& name, const at::Tensor& value) {
    compare("out", case_.out, name, value);
  }
  void output(const std::string& name, double value);
  /// A result for grad/<name>.
  void gradient(const std::string& name, const at::Tensor& value) {
    compare("grad", case_.grad, name, value);
  }
  /// out/value and the gradients of it with respect to leaves (name, tensor); a leaf that it does
  /// not depend on has gradient 0.
  void value(const at::Tensor& value,
             const std::vector<std::pair<std::string, at::Tensor>>& leaves);

  /// Names of outputs and gradients that were not given.
  std::vector<std::string> missing() const;
  const std::optional<Difference>& worst() const { return worst_; }

 private:
  void compare(const std::string& group, const NamedTensors& references, const std::string& name,
               const at::Tensor& value);
  const Case& case_;
  std::set<std::string> compared_;
  std::optional<Difference> worst_;
};

/// What computes the cases of one kind and name; two references may use a name for different
/// things.
struct CaseHandler {
  std::string kind, name;
  void (*run)(const Case&, Checker&);
  std::string having = {};  ///< only cases with an input or a parameter of this name; empty: all
};

/// A whole evaluation as SED's release does it: accuracies of ensemble, soup and members over all
/// samples, diversity as the plain mean of batch values. outputs [M, N, K] logits or mapped
/// probabilities, soup [N, K]; reads in/labels and the parameter batch_size.
void check_evaluation(const Case& reference, Checker& checker, const at::Tensor& outputs,
                      const at::Tensor& soup, scores::InputKind kind);

/// The tables of handlers, one a topic; training: heads, steps, schedules and whole evaluations,
/// which need more than losses, scores and metrics.
const std::vector<CaseHandler>& loss_handlers();
const std::vector<CaseHandler>& sdde_loss_handlers();
const std::vector<CaseHandler>& saliency_handlers();
const std::vector<CaseHandler>& score_handlers();
const std::vector<CaseHandler>& sdde_score_handlers();
const std::vector<CaseHandler>& postprocessor_handlers();
const std::vector<CaseHandler>& metric_handlers();
const std::vector<CaseHandler>& training_handlers();
const std::vector<CaseHandler>& image_step_handlers();
const std::vector<CaseHandler>& network_handlers();
const std::vector<CaseHandler>& preprocess_handlers();

/// Share of right predictions.
double accuracy(const at::Tensor& predictions, const at::Tensor& labels);

}  // namespace dissent::cli
