#include "train/cost/image_calibration.hpp"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include <algorithm>
#include <any>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/parallel.hpp"
#include "core/timing.hpp"
#include "data/image_loader.hpp"
#include "train/images/image_engine.hpp"

namespace dissent {
namespace {

using losses::Field;
constexpr int64_t kLeastSteps = 3, kReadImages = 256;
constexpr double kMeasuringRate = 1e-6;  // updates that keep random weights as they are

// Bytes of tensors that this thread, and backward passes that it starts, allocate and free while it
// is set.
class Counter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    now_ += size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t now() const { return now_; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

// Bytes that work() leaves allocated (its result is kept until they are counted), and the peak.
template <class Work>
std::pair<int64_t, int64_t> counted(const Work& work) {
  const auto counter = std::make_shared<Counter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);

  const auto kept = work();
  return {counter->now(), counter->peak()};
}

// The straight line through the bytes for one and for two images.
PassBytes line(int64_t one, int64_t two) {
  return {std::max<int64_t>(0, 2 * one - two), std::max<int64_t>(0, two - one)};
}

// Bytes of the passes of one network, as in ImageRunShape, for one number of images.
struct Counts {
  int64_t training = 0, common = 0, derivative = 0, backward = 0, forward = 0;
};

class OneNetwork {
 public:
  explicit OneNetwork(ImageRunShape& run)
      : run_(run),
        members_(make_members(run.network, run.members, {0, 1}, 1, at::kFloat, at::kCPU)),
        parameters_(leaves()) {}

  Counts count(int64_t images) {
    const auto x = at::rand({images, run_.network->channels(), run_.size, run_.size});
    Counts counts;
    count_training(x, counts);
    count_derivatives(x, counts);

    // Validation keeps no graph: only the layers in progress are held.
    const at::NoGradGuard off;
    counts.forward = counted([&] { return forward(x, false).logits; }).second;
    return counts;
  }

 private:
  void count_training(const at::Tensor& x, Counts& counts) {
    const at::AutoGradMode on(true);
    const auto start = Clock::now();
    counts.training = counted([&] { return forward(x, true); }).first;
    run_.pass_s = seconds_since(start) / static_cast<double>(x.size(0));

    // The peak of both passes, without what forward saves and without the gradients, which are
    // part of another sum.
    const auto both = counted([&] {
      return torch::autograd::grad({forward(x, true).logits.sum()}, parameters_, {}, {}, false,
                                   /*allow_unused=*/true);
    });
    counts.backward = both.second - counts.training - both.first;
  }

  // The pass that losses between members read, and what their saliency maps and input gradients
  // add: these need a graph down to the pixels.
  void count_derivatives(const at::Tensor& x, Counts& counts) {
    const at::AutoGradMode on(true);
    const auto labels = at::zeros({x.size(0)}, at::kLong);
    const auto image = x.clone().requires_grad_();
    const bool training = !run_.common_batch();
    ImageOutput output;
    counts.common = counted([&] { return output = forward(image, training); }).first;
    run_.map_pixels = 0;

    counts.derivative = counted([&] { return derivatives(output, image, labels); }).first;
  }

  std::vector<at::Tensor> leaves() const {
    std::vector<at::Tensor> out;
    for (const auto& entry : run_.network->layout().entries())
      out.push_back(parameter(members_.values[0], entry).detach().requires_grad_());
    return out;
  }
  ImageOutput forward(const at::Tensor& x, bool training) const {
    return members_.network->forward(parameters_, members_.buffers[0], x, training);
  }

  // Saliency maps and input gradients, as far as losses read them.
  std::vector<at::Tensor> derivatives(const ImageOutput& output, const at::Tensor& image,
                                      const at::Tensor& labels) {
    std::vector<at::Tensor> out;
    const auto logits = output.logits.dim() == 3 ? output.logits : output.logits.unsqueeze(0);
    for (const auto& term : run_.objective.terms) {
      const auto traits = traits_of(term);
      for (const auto field : traits.exchanged) {
        if (field == Field::kSaliencyMaps) {
          const auto& options = *std::any_cast<losses::GradCamOptions>(&term.options);
          const auto noise = losses::logit_noise(logits.detach(), 1, 1);
          out.push_back(losses::saliency_maps(logits, labels, read(output.maps), options, noise));
          run_.map_pixels = out.back().size(2) * out.back().size(3);
        }
        if (field == Field::kInputGradients) {
          const auto& options = *std::any_cast<losses::InputGradientOptions>(&term.options);
          out.push_back(losses::input_gradients(logits, labels, read(image), options));
        }
      }
    }
    return out;
  }
  losses::MemberInputs read(const at::Tensor& source) const {
    return run_.multihead() ? losses::MemberInputs::shared(source)
                            : losses::MemberInputs::each({source});
  }

  ImageRunShape& run_;
  ImageMembers members_;
  std::vector<at::Tensor> parameters_;
};

// How a rank is measured: its networks, or two in place of one where losses need two.
struct Team {
  int64_t networks = 1, measured = 1, own = 1, common = 1;
  bool halved() const { return measured > networks; }
  double share() const { return halved() ? 0.5 : 1; }
};

Team team_of(const ImageRunShape& run, const GridShape& grid) {
  Team team;
  team.networks = run.multihead() ? 1 : part_of(run.members, grid.members, 0).count;
  team.own = part_of(run.batch, grid.data, 0).count;
  team.common = part_of(run.common_images(), grid.data, 0).count;

  // A loss between members needs two of them, where a rank of the real grid has one and receives
  // the others' outputs.
  const bool needs_two = team.networks == 1 && run.couples() && !run.multihead();
  team.measured = needs_two ? 2 : team.networks;
  return team;
}

// Random images with the labels that the sampler would give.
ImageRows random_rows(const ImageTrainConfig& config, const ImageRunShape& run, int64_t count) {
  const int64_t per_class =
      config.data.sampler == Sampler::kClassBalanced ? config.data.samples_per_class : 1;
  const auto labels =
      at::arange(count, at::kLong).div(per_class, "floor").remainder(run.network->classes());
  return {at::rand({count, run.network->channels(), run.size, run.size}), labels, count};
}

// A batch of random images for each network.
ImageStepInput random_input(const ImageTrainConfig& config, const ImageRunShape& run,
                            const Team& team) {
  ImageStepInput input;
  const int64_t loads = run.objective.same_batch ? 1 : team.measured;
  for (int64_t i = 0; i < loads; ++i) input.own.push_back(random_rows(config, run, team.own));
  if (run.common_batch()) input.common = random_rows(config, run, team.common);
  if (run.objective.unlabelled) input.common.labels = at::Tensor();

  // Ramps of weights are over, and losses that are on in some epochs only are on as in the last.
  input.epoch = run.epochs;
  return input;
}

ImageStepOptions measured_options(const ImageTrainConfig& config) {
  auto options = image_step_options(config);
  options.skip_not_finite = true;
  options.synchronised_batch_norm = false;

  // f16 is for GPUs; `dissent plan` gives the cost in f32 then.
  if (options.compute == at::kHalf) options.compute = at::kFloat;
  return options;
}

// Medians of accumulate and update, over steps for about `seconds`.
void time_steps(ImageStepper& stepper, Optimizer& optimizer, const ImageStepInput& input,
                double seconds, ImageRankTimes& times) {
  std::vector<double> batches, updates;
  const auto start = Clock::now();
  const size_t enough = kLeastSteps + 1;  // the first step is a warm-up
  while (batches.size() < enough || seconds_since(start) < seconds) {
    const auto batch_start = Clock::now();
    stepper.accumulate(input, 1);
    batches.push_back(seconds_since(batch_start));

    const auto update_start = Clock::now();
    stepper.update(optimizer, kMeasuringRate, Request::kNone);
    updates.push_back(seconds_since(update_start));

    // Large networks: the warm-up and one step have taken more than four times the budget.
    if (batches.size() == 2 && seconds_since(start) > 4 * seconds) break;
  }

  batches.erase(batches.begin());
  updates.erase(updates.begin());
  times.batch_s = median(batches);
  times.update_s = median(updates);
}

// Seconds per image of a forward pass of these networks.
double forward_seconds_per_image(const ImageRunShape& run, const ImageMembers& members,
                                 int64_t networks) {
  const int64_t block = std::min(run.validation_batch, *run.validation_rows);
  const at::NoGradGuard off;

  const auto x = at::rand({block, run.network->channels(), run.size, run.size});
  const auto start = Clock::now();
  each_network(members, [&](int64_t i) {
    const at::NoGradGuard no_graph;
    if (i < networks)
      members.network->forward(unpack(members.values[i], members.network->layout()),
                               members.buffers[i], x, false);
  });
  return seconds_since(start) / static_cast<double>(block);
}

// Seconds to read and transform one image on the threads that read in a training.
double read_seconds(const ImageTrainConfig& config, const TransformedSet& set) {
  ImageLoader loader({.workers = 0, .skip_damaged = true});
  const int64_t workers = std::max<int64_t>(1, config.data.workers);
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < std::min(kReadImages, set.source->rows()); ++row) rows.push_back(row);

  // The first reading fills the page cache.
  const auto read = [&] {
    const auto start = Clock::now();
    loader.load({set.source.get(), &set.transform, rows, 1, 1}).get();
    return seconds_since(start);
  };
  read();

  const double one = read() / static_cast<double>(rows.size());

  // load() works on all threads of the rank; workers have threads of their own.
  return config.data.workers > 0 ? one * threads() / static_cast<double>(workers) : one;
}

}  // namespace

void count_passes(ImageRunShape& run) {
  OneNetwork network(run);
  network.count(1);  // what is made once

  // Bytes are fixed + images * slope: two counts give the two unknowns.
  const auto one = network.count(1), two = network.count(2);
  run.training = line(one.training, two.training);
  run.common = line(one.common, two.common);
  run.derivative = line(one.derivative, two.derivative);
  run.backward = line(one.backward, two.backward);
  run.forward = line(one.forward, two.forward);
}

ImageRankTimes calibrate_images(const ImageTrainConfig& config, const ImageRunShape& run,
                                const GridShape& grid, const TransformedSet* set, double seconds) {
  const Team team = team_of(run, grid);
  const int rank_threads = static_cast<int>(threads());

  // The objects of a training on one rank.
  auto self = make_self_communicator();
  Grid alone(*self, {});
  auto members = make_members(run.network, run.multihead() ? run.members : team.measured,
                              {0, team.measured}, 1, at::kFloat, at::kCPU);

  Optimizer optimizer(config.optimizer, members.values);
  const auto discriminator =
      make_discriminator(config, run.objective, *run.network, 1, members.values.options());
  ImageStepper stepper(members, run.objective, measured_options(config), alone,
                       discriminator.get());

  // Two networks on one thread take twice what the rank's one takes.
  ImageRankTimes times;
  if (team.halved()) set_threads(1);
  time_steps(stepper, optimizer, random_input(config, run, team), seconds, times);
  times.batch_s *= team.share();
  times.update_s *= team.share();
  if (team.halved()) set_threads(rank_threads);

  if (set) times.image_s = read_seconds(config, *set);
  if (!run.validation_rows) return times;

  const double rows = static_cast<double>(*run.validation_rows) / static_cast<double>(grid.data);
  times.validation_s =
      rows * (forward_seconds_per_image(run, members, team.networks) + times.image_s);
  return times;
}

ImageRankTimes merge(Communicator& comm, const ImageRankTimes& own, bool measured) {
  auto table =
      measured
          ? at::tensor({own.batch_s, own.update_s, own.image_s, own.validation_s, 1.0}, at::kDouble)
          : at::zeros({5}, at::kDouble);

  // The last column counts the ranks that have measured: the others sent zeros.
  comm.all_reduce(table, ReduceOp::kSum);
  const auto* sum = table.const_data_ptr<double>();
  return {sum[0] / sum[4], sum[1] / sum[4], sum[2] / sum[4], sum[3] / sum[4]};
}

}  // namespace dissent
