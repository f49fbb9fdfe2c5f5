#include "train/run/run_checkpoint.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "storage/checkpoint.hpp"

namespace dissent {
namespace {

// The stacks of a run in the order of the file. The optimiser's state is shaped like the
// parameters, which are the first stack.
std::vector<CheckpointStack> all_stacks(const RunContents& contents, const Optimizer& optimizer) {
  auto stacks = contents.stacks;
  for (const auto& [name, values] : optimizer.state())
    stacks.push_back({kOptimizerPrefix + name + "/", values, contents.stacks[0].layout});
  return stacks;
}

std::vector<EpochRecord> records_from(const at::Tensor& table, int64_t losses) {
  std::vector<EpochRecord> records;
  if (!table.defined()) return records;
  const auto* values = table.const_data_ptr<double>();
  for (int64_t epoch = 0; epoch < table.size(0); ++epoch) {
    const auto* row = values + epoch * table.size(1);
    records.push_back(record_of({row, row + table.size(1)}, static_cast<size_t>(losses)));
  }
  return records;
}

}  // namespace

void write_run_checkpoint(const std::string& path, Grid& grid, const RunContext& context,
                          const RunContents& contents, const Optimizer& optimizer,
                          const Schedule& schedule, const RunState& state) {
  const auto& plateau = schedule.state();
  Progress progress{{"epoch", state.epoch},
                    {"step", state.step},
                    {"seed", static_cast<int64_t>(context.seed)},
                    {"dim", contents.dim},
                    {"classes", contents.classes},
                    {"losses", state.losses},
                    {"caches", contents.data},
                    {"best_accuracy", state.best_accuracy},
                    {"plateau_best", plateau.best},
                    {"plateau_bad_epochs", plateau.bad_epochs},
                    {"plateau_scale", plateau.scale}};
  if (contents.loss_scale) {
    progress["loss_scale"] = contents.loss_scale->value;
    progress["loss_scale_good_steps"] = contents.loss_scale->good_steps;
  }
  CheckpointWriter writer(*grid.run, path, context.config_text, context.config_hash, progress);

  // Each network is written by one rank. Ranks that hold a copy take part in the collective write
  // with an empty slab.
  const auto own_part = [&](const at::Tensor& values) {
    return contents.writes_networks ? values : values.narrow(0, 0, 0);
  };
  for (const auto& stack : all_stacks(contents, optimizer)) {
    for (const auto& entry : stack.layout->entries()) {
      std::vector<int64_t> shape{contents.networks};
      shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
      writer.add(stack.prefix + entry.name, shape, contents.first_network,
                 own_part(stacked_parameter(stack.values, entry)));
    }
  }
  writer.add(kOptimizerSteps, {contents.networks}, contents.first_network,
             own_part(at::tensor(optimizer.steps(), at::kLong)));

  // What is the same on every rank is written by the first one.
  const auto add_shared = [&](const std::string& name, const at::Tensor& table) {
    if (!table.defined() || table.numel() == 0) return;
    writer.add(name, table.sizes().vec(), 0, grid.run->rank() == 0 ? table : table.narrow(0, 0, 0));
  };
  for (const auto& [name, tensor] : contents.shared) add_shared(name, tensor);
  add_shared("progress/epochs", records_tensor(state.records));
  add_shared("progress/steps", state.steps);
  add_shared("progress/gradients", state.probes);
  writer.commit();
}

RunState read_run_checkpoint(const std::string& path, const RunContents& contents,
                             Optimizer& optimizer, Schedule& schedule) {
  const at::NoGradGuard no_graph;
  const CheckpointReader file(path);

  // The configuration may name the same path, whose contents have changed: the identities are
  // compared before anything is loaded.
  const std::string data = file.text("caches");
  DISSENT_CHECK(data == contents.data, kData,
                "{}: expected a run on the same {} ({}), found one on others ({})", path,
                contents.data_kind, contents.data, data);

  // Each rank reads its own networks, whichever rank wrote them: the grid may differ from that of
  // the checkpoint.
  for (const auto& stack : all_stacks(contents, optimizer)) {
    for (const auto& entry : stack.layout->entries()) {
      const std::string name = stack.prefix + entry.name;
      file.expect_shape(name, contents.networks, entry.shape, contents.first_network);
      stacked_parameter(stack.values, entry)
          .copy_(file.read_slab(name, contents.first_network, contents.local_networks));
    }
  }

  for (const auto& [name, tensor] : contents.shared) {
    at::Tensor target = tensor;
    target.copy_(file.read_slab(name, 0, tensor.size(0)));
  }

  // Step counts are per network as well, since members may train in different steps; the state of
  // the schedule is the same on every rank.
  const auto steps =
      file.read_slab(kOptimizerSteps, contents.first_network, contents.local_networks);
  const auto* first_step = steps.const_data_ptr<int64_t>();
  optimizer.set_steps({first_step, first_step + steps.numel()});
  schedule.set_state({file.number("plateau_best"), file.integer("plateau_bad_epochs"),
                      file.number("plateau_scale")});

  if (contents.loss_scale) {
    contents.loss_scale->value = file.number("loss_scale");
    contents.loss_scale->good_steps = file.integer("loss_scale_good_steps");
  }

  // Tables without rows are not written, so a missing one is empty.
  const auto table = [&](const std::string& name) {
    return file.has(name) ? file.read_slab(name, 0, file.shape(name)[0]) : at::Tensor();
  };

  RunState state;
  state.epoch = file.integer("epoch");
  state.step = file.integer("step");
  state.losses = file.integer("losses");
  state.best_accuracy = file.number("best_accuracy");
  state.records = records_from(table("progress/epochs"), state.losses);
  state.steps = table("progress/steps");
  state.probes = table("progress/gradients");
  return state;
}

}  // namespace dissent
