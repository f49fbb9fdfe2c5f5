#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// One entry of a trace: for heads a step of the plan, for images a batch.
struct TraceStep {
  int64_t epoch = 0;
  int64_t step = 0;          ///< within its epoch
  double learning_rate = 0;  ///< of the update that the entry belongs to
  double share = 1;          ///< of the update's gradient: 1 / batches of the update
  bool ends = true;          ///< completes an update: for images, its last batch
  bool update = false;  ///< the weights were updated: false in a frozen epoch and for a skipped
                        ///< step (training.on_nan = "skip_step")
  int64_t drawn = 0;    ///< see docs/formats.md
  std::vector<double> losses = {};  ///< value of each term of the objective, without its weight
  NamedTensors tensors = {};        ///< inputs: rows, labels, pixels or features, random draws
};

/// Writes <folder>/trace.h5: inputs and results of the first updates of a training, so that other
/// programs can repeat them (docs/formats.md, "Traces"). The file appears once it is complete:
/// after the last step to record, or at the end of a shorter training. For a run on one rank; not
/// collective.
class TraceWriter {
 public:
  using Weights = std::function<NamedTensors()>;
  /// kind        "heads" or "images"
  /// steps       number of updates to record
  /// step_bytes  upper bound for the tensors of one step
  /// Error::kData naming the path, also if the disk has too little free space.
  TraceWriter(const RunContext& context, const std::string& kind,
              const std::vector<std::string>& losses, int64_t steps, int64_t step_bytes,
              const NamedTensors& initial);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  /// False once all steps are recorded.
  bool wants_more() const { return file_.valid(); }
  /// Adds a step. weights() returns the state after it; called after the first update and the last
  /// step only.
  void add(const TraceStep& step, const Weights& weights);
  /// Writes the final weights and renames the file to its final name. No effect if that is done.
  void finish(const Weights& weights);

 private:
  void write(const std::string& group, const NamedTensors& tensors);
  void write_step(const std::string& group, const TraceStep& step);
  std::string path_, temporary_;
  UniqueHandle file_;
  int64_t steps_, done_ = 0, entries_ = 0;
  bool first_written_ = false;
};

/// Adds the parameters of a stack [n, P] by name with a prefix: "members/" + "fc.weight", [n, ...].
void add_stack(NamedTensors& tensors, const std::string& prefix, const at::Tensor& stack,
               const ParameterLayout& layout);

}  // namespace dissent
