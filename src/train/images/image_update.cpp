// The second half of a step: what becomes of the accumulated gradient.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/timing.hpp"
#include "train/images/image_stepper.hpp"
#include "train/run/divergence.hpp"

namespace dissent {

std::vector<double> ImageStepper::term_values(const at::Tensor& values) const {
  std::vector<double> terms;
  const auto* value = values.const_data_ptr<double>();
  for (size_t t = 0; t < column_.size(); ++t) {
    // A base loss has a column per network, and its value is the mean; an ensemble loss has one
    // column.
    const int64_t end = t + 1 < column_.size() ? column_[t + 1] : columns_;
    double sum = 0;
    for (int64_t c = column_[t]; c < end; ++c) sum += value[c];
    terms.push_back(sum / static_cast<double>(end - column_[t]));
  }
  return terms;
}

// What ranks tell each other once per update.
struct ImageStepper::GatheredNorms {
  double square_sum = 0;              ///< of the gradient over all members, scaled
  std::vector<int64_t> bad_networks;  ///< whose gradient is not finite
  Request request = Request::kNone;   ///< the largest of any rank
};

// One gather per update carries the squared norm of each network's gradient, the rank's request and
// the duration of its step. Squares are added in member order: the same bits on every grid.
ImageStepper::GatheredNorms ImageStepper::gather_norms(Request request) {
  const int64_t networks = members_.networks();
  auto local = at::zeros({networks + 2}, at::kDouble);
  auto* numbers = local.data_ptr<double>();
  each_network(members_, [&](int64_t i) {
    numbers[i] = gradients_[i].to(at::kDouble).square().sum().item<double>();
  });

  numbers[networks] = static_cast<double>(request);
  numbers[networks + 1] = seconds_since(step_start_);

  // Messages differ in length: member groups may differ by one network.
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < grid_.run->size(); ++rank) {
    const int64_t member_part = rank / grid_.shape.data;
    const int64_t rank_networks =
        members_.multihead() ? 1 : part_of(members_.total, grid_.shape.members, member_part).count;
    counts.push_back(rank_networks + 2);
  }

  const auto all = grid_.run->all_gather(local, counts);

  GatheredNorms norms;
  double longest_s = 0;
  int64_t network = 0;
  const auto* number = all.const_data_ptr<double>();
  for (int64_t rank = 0; rank < grid_.run->size(); ++rank) {
    const int64_t rank_networks = counts[rank] - 2;
    // Data ranks have the same gradient, summed over them: the first one's counts.
    if (rank % grid_.shape.data == 0) {
      for (int64_t i = 0; i < rank_networks; ++i, ++network) {
        norms.square_sum += number[i];
        if (!std::isfinite(number[i])) norms.bad_networks.push_back(network);
      }
    }
    const auto rank_request = static_cast<Request>(static_cast<int64_t>(number[rank_networks]));
    norms.request = std::max(norms.request, rank_request);
    longest_s = std::max(longest_s, number[rank_networks + 1]);
    number += counts[rank];
  }

  // The same on every rank, as begin_step() needs: all watch the next step or none does.
  longest_s_ = longest_s;
  return norms;
}

ImageStepper::Outcome ImageStepper::update(Optimizer& optimizer, double learning_rate,
                                           Request request, const UpdatePlace& place) {
  const at::NoGradGuard no_graph;
  if (grid_.shape.data > 1)
    (device_data_ ? *device_data_ : *grid_.data).all_reduce(gradients_, ReduceOp::kSum);

  const auto norms = gather_norms(request);
  in_step_ = false;

  // The accumulated gradient is that of the scaled loss.
  Outcome outcome;
  outcome.agreed = norms.request;
  outcome.norm = std::sqrt(norms.square_sum) / scale_.value;

  // With a loss scale an overflow is expected from time to time: the scale is reduced, and only
  // this step is lost.
  const bool finite = std::isfinite(outcome.norm);
  outcome.skipped = !finite && (options_.skip_not_finite || scale_.active);
  if (!finite && !outcome.skipped) fail_not_finite(place, norms, outcome.norm, learning_rate);

  double factor = 1 / scale_.value;
  if (options_.clip_norm > 0) factor *= std::min(1.0, options_.clip_norm / (outcome.norm + 1e-6));

  // The discriminator's gradient came from the same forward passes: it is dropped with the step.
  scale_.observe(finite);
  if (!outcome.skipped)
    update_members(optimizer, factor, learning_rate);
  else if (discriminator_)
    discriminator_->discard();
  gradients_.zero_();
  return outcome;
}

void ImageStepper::update_members(Optimizer& optimizer, double factor, double learning_rate) {
  each_network(members_, [&](int64_t i) {
    auto gradient = gradients_[i];
    if (factor != 1) gradient.mul_(factor);
    optimizer.begin_step(i);
    optimizer.update(i, 0, gradient, learning_rate);
  });
  if (discriminator_) discriminator_->update();
}

// Every rank has the same norms, so every rank raises the same error.
void ImageStepper::fail_not_finite(const UpdatePlace& place, const GatheredNorms& norms,
                                   double norm, double learning_rate) {
  std::vector<double> losses;
  if (place.values.defined()) {
    auto values = place.values.clone();
    grid_.run->all_reduce(values, ReduceOp::kSum);
    losses = term_values(values);
  }
  // Members of a multihead network share their gradient: none can be named.
  std::string members;
  if (!members_.multihead() && !norms.bad_networks.empty())
    members = fmt::format("the gradient of {} is not finite", members_text(norms.bad_networks));

  Error error(ErrorKind::kData,
              divergence_message({.what = "gradient",
                                  .epoch = place.epoch,
                                  .step = place.step,
                                  .found = norm,
                                  .members = members,
                                  .learning_rate = learning_rate},
                                 objective_.terms, losses),
              __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

}  // namespace dissent
