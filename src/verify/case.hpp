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

namespace dissent::verify {

using NamedTensors = std::map<std::string, at::Tensor>;

/// The contents of one reference case. Tensors are f64 or i64 on the CPU; on_device() moves the
/// inputs of a case to a device.
struct Case {
  std::string file, key, kind, name;
  std::string note;  ///< or empty
  nlohmann::json params;
  double rtol = 0, atol = 0;
  NamedTensors in, out, grad;
  NamedTensors host_in = {};     ///< the inputs as read from the file, if `as_device`
  bool as_device = false;        ///< compute with the code that runs on a GPU: stacks of members
  at::Device device = at::kCPU;  ///< of the inputs
  at::ScalarType arithmetic = at::kDouble;  ///< dtype of the floating-point inputs

  bool has_input(const std::string& input) const { return in.count(input) > 0; }
  /// Dtype and device of the floating-point inputs.
  at::TensorOptions numbers() const { return at::TensorOptions(arithmetic).device(device); }
  /// in/<input> as read, on the host: for values that control a computation (indices, counts).
  const at::Tensor& host_input(const std::string& input) const;
  /// in/<input>; Error::kData if there is none.
  const at::Tensor& input(const std::string& input) const;
  /// A copy of in/<input> that requires gradients.
  at::Tensor differentiable(const std::string& input) const;
  /// Whether the parameter exists and is not null.
  bool has(const std::string& parameter) const {
    return params.contains(parameter) && !params.at(parameter).is_null();
  }
  template <class T>
  T param(const std::string& parameter) const {
    DISSENT_CHECK(has(parameter), kData, "{}: case {}: expected a parameter '{}', found none", file,
                  key, parameter);
    return params.at(parameter).get<T>();
  }
};

/// All cases of a file, in the order of their names.
std::vector<Case> read_cases(const std::string& path);

/// A difference from the reference, and its ratio to the tolerance.
struct Difference {
  std::string output;  ///< "out/value[3]"
  double ours = 0, reference = 0, tolerance = 0;
  double excess = 0;  ///< abs(ours - reference) / tolerance, infinite for NaN against a number
  bool failed() const { return !(excess <= 1); }
};

/// abs(ours - reference) <= absolute + relative * abs(reference) + of_largest * s, where s is the
/// largest finite abs(reference) of the tensor, but at least 1 for a single number and 0.001 for
/// other tensors: smaller values may be the rest of sums that cancel.
struct Tolerance {
  double relative = 0, absolute = 0, of_largest = 0;
};

/// Compares a handler's results, on any device, with a case.
class Checker {
 public:
  /// With the tolerance of the case.
  explicit Checker(const Case& reference) : Checker(reference, {reference.rtol, reference.atol}) {}
  Checker(const Case& reference, const Tolerance& tolerance)
      : case_(reference), tolerance_(tolerance) {}
  /// A result for out/<name>; ignored if the case has no such output.
  void output(const std::string& name, const at::Tensor& value) {
    compare("out", case_.out, name, value, tolerance_);
  }
  void output(const std::string& name, double value);
  /// A result that is always computed on the host: compared with the tolerance of the case.
  void host_output(const std::string& name, const at::Tensor& value);
  /// A result for grad/<name>.
  void gradient(const std::string& name, const at::Tensor& value) {
    compare("grad", case_.grad, name, value, tolerance_);
  }
  /// Results for out/value and for its gradients with respect to leaves (name, tensor). The
  /// gradient of a leaf that the value does not depend on is 0.
  void value(const at::Tensor& value,
             const std::vector<std::pair<std::string, at::Tensor>>& leaves);

  /// Names of the outputs and gradients of the case that got no result.
  std::vector<std::string> missing() const;
  /// The largest difference in tolerances, if it exceeds its tolerance.
  std::optional<Difference> worst() const {
    return largest_ && largest_->failed() ? largest_ : std::nullopt;
  }
  /// The largest difference in tolerances; nothing if all values equal the reference.
  const std::optional<Difference>& largest() const { return largest_; }

 private:
  void compare(const std::string& group, const NamedTensors& references, const std::string& name,
               const at::Tensor& value, const Tolerance& tolerance);
  const Case& case_;
  Tolerance tolerance_;
  std::set<std::string> compared_;
  std::optional<Difference> largest_;
};

/// Computes the cases of one kind and name. Two reference implementations may use the same name for
/// different things.
struct CaseHandler {
  std::string kind, name;
  void (*run)(const Case&, Checker&);
  std::string having = {};  ///< only cases with an input or parameter of this name; empty: all
};

/// A complete evaluation as SED's release does it: accuracies of ensemble, soup and members over
/// all samples, diversity as the plain mean of batch values. outputs [M, N, K] logits or mapped
/// probabilities, soup [N, K]; reads in/labels and the parameter batch_size.
void check_evaluation(const Case& reference, Checker& checker, const at::Tensor& outputs,
                      const at::Tensor& soup, scores::InputKind kind);

/// The tables of handlers, one per topic. Training has heads, steps, schedules and complete
/// evaluations, which need more than losses, scores and metrics.
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

/// Share of correct predictions.
double accuracy(const at::Tensor& predictions, const at::Tensor& labels);

}  // namespace dissent::verify
