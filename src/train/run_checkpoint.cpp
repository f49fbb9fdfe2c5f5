#include "train/run_checkpoint.hpp"

#include "storage/checkpoint.hpp"

namespace dissent {
namespace {

std::vector<EpochRecord> records_from(const at::Tensor& table, size_t losses) {
  std::vector<EpochRecord> records;
  const auto* values = table.const_data_ptr<double>();
  for (int64_t i = 0; i < table.size(0); ++i)
    records.push_back(
        record_of({values + i * table.size(1), values + (i + 1) * table.size(1)}, losses));
  return records;
}

}  // namespace

void write_run_checkpoint(const std::string& path, Grid& grid, const RunContext& context,
                          const TrainData& data, const MemberStack& members,
                          const Optimizer& optimizer, const Schedule& schedule,
                          const RunState& state) {
  const auto& plateau = schedule.state();
  CheckpointWriter writer(*grid.run, path, context.config_text, context.config_hash,
                          {{"epoch", state.epoch},
                           {"step", state.step},
                           {"seed", static_cast<int64_t>(context.seed)},
                           {"dim", data.dim},
                           {"classes", data.classes},
                           {"losses", state.losses},
                           {"caches", data.identity},
                           {"best_accuracy", state.best_accuracy},
                           {"plateau_best", plateau.best},
                           {"plateau_bad_epochs", plateau.bad_epochs},
                           {"plateau_scale", plateau.scale}});
  // Every data rank holds the same members: the first of them gives the slab, the others an empty
  // one.
  const auto mine = [&](const at::Tensor& values) {
    return grid.data_part == 0 ? values : values.narrow(0, 0, 0);
  };
  const auto add = [&](const std::string& prefix, const at::Tensor& stack) {
    for (const auto& entry : members.head->layout().entries()) {
      std::vector<int64_t> shape{members.total};
      shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
      writer.add(prefix + entry.name, shape, members.first, mine(stacked_parameter(stack, entry)));
    }
  };
  add(kMembersPrefix, members.values);
  for (const auto& [name, stack] : optimizer.state()) add(kOptimizerPrefix + name + "/", stack);
  writer.add(kOptimizerSteps, {members.total}, members.first,
             mine(at::tensor(optimizer.steps(), at::kLong)));
  const auto whole = [&](const char* name, const at::Tensor& table) {
    if (table.defined() && table.numel() > 0)
      writer.add(name, table.sizes().vec(), 0,
                 grid.run->rank() == 0 ? table : table.narrow(0, 0, 0));
  };
  whole("progress/epochs", records_tensor(state.records));
  whole("progress/steps", state.steps);
  whole("progress/gradients", state.probes);
  writer.commit();
}

RunState read_run_checkpoint(const std::string& path, const TrainData& data, MemberStack& members,
                             Optimizer& optimizer, Schedule& schedule) {
  const CheckpointReader file(path);
  const std::string caches = file.text("caches");
  DISSENT_CHECK(caches == data.identity, kData,
                "{}: expected a run on the same caches, found one on others: {} there, {} here",
                path, caches, data.identity);
  const auto read = [&](const std::string& prefix, const at::Tensor& stack) {
    for (const auto& entry : members.head->layout().entries()) {
      file.expect_shape(prefix + entry.name, members.total, entry.shape, members.first);
      stacked_parameter(stack, entry)
          .copy_(file.read_slab(prefix + entry.name, members.first, members.count()));
    }
  };
  read(kMembersPrefix, members.values);
  for (const auto& [name, stack] : optimizer.state()) read(kOptimizerPrefix + name + "/", stack);
  const auto steps = file.read_slab(kOptimizerSteps, members.first, members.count());
  optimizer.set_steps(
      {steps.const_data_ptr<int64_t>(), steps.const_data_ptr<int64_t>() + steps.numel()});
  schedule.set_state({file.number("plateau_best"), file.integer("plateau_bad_epochs"),
                      file.number("plateau_scale")});
  RunState state{file.integer("epoch"),        file.integer("step"),  {}, {}, {},
                 file.number("best_accuracy"), file.integer("losses")};
  const auto table = [&](const std::string& name) {
    return file.has(name) ? file.read_slab(name, 0, file.shape(name)[0]) : at::Tensor();
  };
  if (const auto epochs = table("progress/epochs"); epochs.defined())
    state.records = records_from(epochs, static_cast<size_t>(state.losses));
  state.steps = table("progress/steps");
  state.probes = table("progress/gradients");
  return state;
}

}  // namespace dissent
