#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/run/epoch_record.hpp"

namespace dissent {

/// Where a run stands between two steps. A step is one update of the weights; on images it may
/// consist of several batches (training.accumulation).
struct RunState {
  int64_t epoch = 0;                 ///< completed epochs
  int64_t step = 0;                  ///< completed steps of the current epoch
  std::vector<EpochRecord> records;  ///< one per completed epoch
  at::Tensor steps;   ///< [step, columns] f64: values of the completed steps of the current epoch,
                      ///< in the columns of its engine; undefined outside of a checkpoint
  at::Tensor probes;  ///< [probed steps, A, 3] f64: gradient probes of the current epoch, 0 for
                      ///< steps to come; undefined without probes
  double best_accuracy = -1;  ///< highest validation accuracy of the ensemble so far
  int64_t losses = 0;         ///< number of terms of the objective
};

/// What a rank requests from the others. The largest request of any rank applies to all of them; it
/// is exchanged together with the values of a step.
enum class Request : int64_t { kNone = 0, kCheckpoint = 1, kStop = 2, kFail = 3 };

}  // namespace dissent
