#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/parameters.hpp"
#include "storage/h5.hpp"
#include "train/run/epoch_record.hpp"

namespace dissent {

/// Tensors by their names in the file.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// One step of a trace: for heads a step of the plan, for images a batch.
struct TraceStep {
  int64_t epoch = 0;
  int64_t step = 0;          ///< within its epoch
  double learning_rate = 0;  ///< of the update that it belongs to
  double share = 1;          ///< of the update's gradient: 1 / batches of the update
  bool ends = true;          ///< it is one of the steps that are counted: for images, the
                             ///< last batch of an update
  bool update = false;       ///< the weights were updated behind it: neither in a frozen epoch nor
                             ///< where a step was passed over (training.on_nan = "skip_step")
  int64_t drawn = 0;         ///< see docs/formats.md
  std::vector<double> losses = {};  ///< of the objective's terms, without their weights
  NamedTensors tensors = {};        ///< what was fed: rows, labels, pixels or features, draws
};

/// Writes <folder>/trace.h5: what a training did in its first updates, for other programs to repeat
/// (docs/formats.md, "Traces"). The file is there when it is whole: after the last of the steps, or
/// at the end of a training of fewer.
/// For a run on one rank; not collective.
class TraceWriter {
 public:
  using Weights = std::function<NamedTensors()>;
  /// kind: "heads" or "images". steps: updates to record. step_bytes: of one step's tensors, at
  /// most: a disk that is too small is an error here. Error::kData naming the path.
  TraceWriter(const RunContext& context, const std::string& kind,
              const std::vector<std::string>& losses, int64_t steps, int64_t step_bytes,
              const NamedTensors& initial);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  /// False once it has all that it wants.
  bool wants_more() const { return file_.valid(); }
  /// One more step; weights() is the state behind it, and is asked for after the first update and
  /// the last step.
  void add(const TraceStep& step, const Weights& weights);
  /// Writes the last weights and makes the file appear under its name. Nothing if it is there.
  void finish(const Weights& weights);

 private:
  void write(const std::string& group, const NamedTensors& tensors);
  std::string path_, temporary_;
  UniqueHandle file_;
  int64_t steps_, done_ = 0, entries_ = 0;
  bool first_written_ = false;
};

/// The parameters of a stack [n, P], by name, behind a prefix: "members/" + "fc.weight", [n, ...].
void add_stack(NamedTensors& tensors, const std::string& prefix, const at::Tensor& stack,
               const ParameterLayout& layout);

}  // namespace dissent
