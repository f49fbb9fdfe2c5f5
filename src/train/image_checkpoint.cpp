#include "train/image_checkpoint.hpp"

#include "storage/checkpoint.hpp"

namespace dissent {
namespace {

// Calls visit(name, stack [n, ...], layout) for each stack of parameters or buffers.
template <class Visit>
void each_stack(const ImageRun& run, const Visit& visit) {
  const auto &parameters = run.members.network->layout(),
             &buffers = run.members.network->buffer_layout();
  visit(kMembersPrefix, run.members.values, parameters);
  visit(kBuffersPrefix, run.members.buffers, buffers);
  if (run.average.defined()) visit(kAveragePrefix, run.average, parameters);
  for (const auto& [name, stack] : run.optimizer.state())
    visit(kOptimizerPrefix + name + "/", stack, parameters);
}

template <class Visit>
void each_discriminator_tensor(const ImageRun& run, const Visit& visit) {
  if (!run.discriminator) return;
  for (const auto& [state, tensors] : run.discriminator->state())
    for (size_t i = 0; i < tensors.size(); ++i)
      visit(fmt::format("{}{}/{}", kDiscriminatorPrefix, state, i), tensors[i]);
}

}  // namespace

void write_image_checkpoint(const std::string& path, const ImageRun& run, const RunContext& context,
                            const ImageRunState& state) {
  const auto& plateau = run.schedule.state();
  CheckpointWriter writer(*run.grid.run, path, context.config_text, context.config_hash,
                          {{"epoch", state.epoch},
                           {"step", state.step},
                           {"seed", static_cast<int64_t>(context.seed)},
                           {"dim", run.members.network->feature_dim()},
                           {"classes", run.classes},
                           {"losses", state.losses},
                           {"caches", run.identity},
                           {"best_accuracy", state.best_accuracy},
                           {"plateau_best", plateau.best},
                           {"plateau_bad_epochs", plateau.bad_epochs},
                           {"plateau_scale", plateau.scale},
                           {"loss_scale", run.loss_scale.value},
                           {"loss_scale_good_steps", run.loss_scale.good_steps}});
  // Every data rank holds the same members: the first of them gives the slab, the others an empty
  // one.
  const bool gives =
      run.grid.data_part == 0 && (!run.members.multihead() || run.grid.member_part == 0);
  const auto mine = [&](const at::Tensor& values) {
    return gives ? values : values.narrow(0, 0, 0);
  };
  const int64_t networks = run.members.total_networks();
  each_stack(
      run, [&](const std::string& prefix, const at::Tensor& stack, const ParameterLayout& layout) {
        for (const auto& entry : layout.entries()) {
          std::vector<int64_t> shape{networks};
          shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
          writer.add(prefix + entry.name, shape, run.members.first,
                     mine(stacked_parameter(stack, entry)));
        }
      });
  writer.add(kOptimizerSteps, {networks}, run.members.first,
             mine(at::tensor(run.optimizer.steps(), at::kLong)));
  const auto whole = [&](const std::string& name, const at::Tensor& table) {
    if (table.defined() && table.numel() > 0)
      writer.add(name, table.sizes().vec(), 0,
                 run.grid.run->rank() == 0 ? table : table.narrow(0, 0, 0));
  };
  each_discriminator_tensor(run, whole);
  whole("progress/epochs", records_tensor(state.records));
  whole("progress/steps", state.steps);
  writer.commit();
}

ImageRunState read_image_checkpoint(const std::string& path, const ImageRun& run) {
  const at::NoGradGuard no_graph;
  const CheckpointReader file(path);
  const std::string sets = file.text("caches");
  DISSENT_CHECK(sets == run.identity, kData,
                "{}: expected a run on the same images, found one on others: {} there, {} here",
                path, sets, run.identity);
  each_stack(run, [&](const std::string& prefix, const at::Tensor& stack,
                      const ParameterLayout& layout) {
    for (const auto& entry : layout.entries()) {
      file.expect_shape(prefix + entry.name, run.members.total_networks(), entry.shape,
                        run.members.first);
      stacked_parameter(stack, entry)
          .copy_(file.read_slab(prefix + entry.name, run.members.first, run.members.networks()));
    }
  });
  each_discriminator_tensor(run, [&](const std::string& name, at::Tensor tensor) {
    tensor.copy_(file.read_slab(name, 0, tensor.size(0)));
  });
  const auto steps = file.read_slab(kOptimizerSteps, run.members.first, run.members.networks());
  run.optimizer.set_steps(
      {steps.const_data_ptr<int64_t>(), steps.const_data_ptr<int64_t>() + steps.numel()});
  run.schedule.set_state({file.number("plateau_best"), file.integer("plateau_bad_epochs"),
                          file.number("plateau_scale")});
  run.loss_scale.value = file.number("loss_scale");
  run.loss_scale.good_steps = file.integer("loss_scale_good_steps");
  ImageRunState state{file.integer("epoch"),        file.integer("step"),  {}, {},
                      file.number("best_accuracy"), file.integer("losses")};
  const auto table = [&](const std::string& name) {
    return file.has(name) ? file.read_slab(name, 0, file.shape(name)[0]) : at::Tensor();
  };
  if (const auto epochs = table("progress/epochs"); epochs.defined())
    for (int64_t i = 0; i < epochs.size(0); ++i) {
      const auto* row = epochs.const_data_ptr<double>() + i * epochs.size(1);
      state.records.push_back(
          record_of({row, row + epochs.size(1)}, static_cast<size_t>(state.losses)));
    }
  state.steps = table("progress/steps");
  return state;
}

}  // namespace dissent
