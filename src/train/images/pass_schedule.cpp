#include "train/images/pass_schedule.hpp"

#include <utility>

#include <fmt/format.h>

namespace dissent {
namespace {

const char* name_of(PassKind pass) {
  switch (pass) {
    case PassKind::kTrain: return "train";
    case PassKind::kTrainForward: return "train_forward";
    case PassKind::kTrainBackward: return "train_backward";
    case PassKind::kSharedForward: return "shared_forward";
    case PassKind::kEvaluate: return "evaluate";
    case PassKind::kMaps: return "maps";
    case PassKind::kEnsembleBackward: return "ensemble_backward";
  }
  return "";
}

std::string stage_text(const char* name, const PassStage& stage) {
  std::string text = fmt::format("{}:", name);
  for (size_t i = 0; i < stage.tasks.size(); ++i) {
    text += fmt::format("{} {}", i > 0 ? " |" : "", stage.tasks[i].network);
    for (const auto pass : stage.tasks[i].passes) text += fmt::format(" {}", name_of(pass));
  }
  return text + (stage.in_order ? " (in order)\n" : "\n");
}

// Passes on the batch of the ensemble losses, as far as they can run before labels are predicted.
std::vector<PassKind> common_passes(const ScheduleInput& in) {
  std::vector<PassKind> passes;
  if (in.ensemble_losses && in.common_batch) passes.push_back(PassKind::kEvaluate);
  if (in.ensemble_losses && in.labelled) passes.push_back(PassKind::kMaps);
  return passes;
}

// Training and evaluation passes in any order.
void schedule_independent_passes(const ScheduleInput& in, PassSchedule& schedule) {
  const int64_t before_exchange = in.networks / 2;
  for (int64_t i = 0; i < in.networks; ++i) {
    auto& stage = i < before_exchange ? schedule.before : schedule.after;
    stage.tasks.push_back({i, {PassKind::kTrain}});
  }
  for (int64_t i = 0; i < in.networks; ++i) schedule.before.tasks.push_back({i, common_passes(in)});
}

// Per network the training pass, then the evaluation pass. Returns the first network whose backward
// pass is left for the stage behind the exchange.
int64_t schedule_dependent_passes(const ScheduleInput& in, PassSchedule& schedule) {
  // The networks of the last, incomplete round leave threads idle. Their backward pass waits for
  // the stage behind the exchange, which has idle threads as well.
  const bool separate = in.ensemble_losses && in.common_batch;
  const int64_t in_full_rounds = in.networks / in.threads * in.threads;
  const bool fills_gaps =
      separate && in.on_host && !in.synchronised_statistics && in_full_rounds > 0;
  const int64_t first_late = fills_gaps ? in_full_rounds : in.networks;

  for (int64_t i = 0; i < in.networks; ++i) {
    NetworkTask task{i, {}};
    if (in.ensemble_losses && !in.common_batch)
      task.passes.push_back(PassKind::kSharedForward);
    else
      task.passes.push_back(i < first_late ? PassKind::kTrain : PassKind::kTrainForward);
    for (const auto pass : common_passes(in)) task.passes.push_back(pass);
    schedule.before.tasks.push_back(std::move(task));
  }
  return first_late;
}

}  // namespace

PassSchedule schedule_passes(const ScheduleInput& in) {
  PassSchedule schedule;
  const bool separate = in.ensemble_losses && in.common_batch;

  int64_t first_late = in.networks;
  if (separate && !in.running_statistics)
    schedule_independent_passes(in, schedule);
  else
    first_late = schedule_dependent_passes(in, schedule);
  schedule.before.in_order = in.synchronised_statistics;

  if (!in.ensemble_losses) return schedule;

  // Predicted labels need all networks' logits, so maps of the predicted class are a stage of their
  // own.
  if (!in.labelled)
    for (int64_t i = 0; i < in.networks; ++i) schedule.maps.tasks.push_back({i, {PassKind::kMaps}});

  for (int64_t i = 0; i < in.networks; ++i)
    schedule.after.tasks.push_back({i, {PassKind::kEnsembleBackward}});
  for (int64_t i = first_late; i < in.networks; ++i)
    schedule.after.tasks.push_back({i, {PassKind::kTrainBackward}});
  // Only graphs of training passes exchange statistics in their backward pass.
  schedule.after.in_order = in.synchronised_statistics && !in.common_batch;
  return schedule;
}

std::string PassSchedule::text() const {
  return stage_text("before", before) + stage_text("maps", maps) + stage_text("after", after);
}

}  // namespace dissent
