// What becomes of a gradient: added up, judged over all members, given to the optimiser.
#include <cmath>

#include "train/run/divergence.hpp"
#include "train/images/image_stepper.hpp"

namespace dissent {

std::vector<double> ImageStepper::term_values(const at::Tensor& figures) const {
  std::vector<double> values;
  const auto* row = figures.const_data_ptr<double>();
  for (size_t t = 0; t < column_.size(); ++t) {
    const int64_t end = t + 1 < column_.size() ? column_[t + 1] : columns_;
    double sum = 0;
    for (int64_t c = column_[t]; c < end; ++c) sum += row[c];
    values.push_back(sum / static_cast<double>(end - column_[t]));
  }
  return values;
}

void ImageStepper::add_gradient(int64_t network, const std::vector<at::Tensor>& gradient) {
  const at::NoGradGuard no_graph;
  const auto flat = gradients_[network];
  for (size_t i = 0; i < gradient.size(); ++i)
    if (gradient[i].defined())
      parameter(flat, members_.network->layout().entry(i)).add_(gradient[i]);
}

ImageStepper::Outcome ImageStepper::update(Optimizer& optimizer, double learning_rate,
                                           Request request, const UpdatePlace& place) {
  const at::NoGradGuard no_graph;
  const int64_t networks = members_.networks();
  if (grid_.shape.data > 1)
    (device_data_ ? *device_data_ : *grid_.data).all_reduce(gradients_, ReduceOp::kSum);
  auto local = at::zeros({networks + 2}, at::kDouble);
  auto* numbers = local.data_ptr<double>();
  each_network(members_, [&](int64_t i) {
    numbers[i] = gradients_[i].to(at::kDouble).square().sum().item<double>();
  });
  numbers[networks] = static_cast<double>(request);
  numbers[networks + 1] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - step_start_).count();
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < grid_.run->size(); ++rank)
    counts.push_back(
        (members_.multihead()
             ? 1
             : part_of(members_.total, grid_.shape.members, rank / grid_.shape.data).count) +
        2);
  const auto all = grid_.run->all_gather(local, counts);

  Outcome outcome;
  double square = 0, longest_s = 0;
  std::vector<int64_t> bad;  // networks
  const auto* number = all.const_data_ptr<double>();
  for (int64_t rank = 0, network = 0; rank < grid_.run->size(); ++rank) {
    for (int64_t i = 0; i + 2 < counts[rank]; ++i, ++number) {
      if (rank % grid_.shape.data != 0) continue;
      square += *number;
      if (!std::isfinite(*number)) bad.push_back(network);
      ++network;
    }
    outcome.agreed =
        std::max(outcome.agreed, static_cast<Request>(static_cast<int64_t>(*number++)));
    longest_s = std::max(longest_s, *number++);
  }
  longest_s_ = longest_s;
  in_step_ = false;
  outcome.norm = std::sqrt(square) / scale_.value;
  const bool finite = std::isfinite(outcome.norm);
  outcome.skipped = !finite && (options_.skip_not_finite || scale_.active);
  if (!finite && !outcome.skipped) {
    auto figures = place.figures.defined() ? place.figures.clone() : at::Tensor();
    if (figures.defined()) grid_.run->all_reduce(figures, ReduceOp::kSum);
    Error error(
        ErrorKind::kData,
        divergence_message(
            {.what = "gradient",
             .epoch = place.epoch,
             .step = place.step,
             .found = outcome.norm,
             .members = members_.multihead() || bad.empty()
                            ? ""
                            : fmt::format("the gradient of {} is not finite", members_text(bad)),
             .learning_rate = learning_rate},
            objective_.terms, figures.defined() ? term_values(figures) : std::vector<double>{}),
        __FILE__, __LINE__);
    error.set_agreed();
    throw error;
  }
  double factor = 1 / scale_.value;
  if (options_.clip_norm > 0) factor *= std::min(1.0, options_.clip_norm / (outcome.norm + 1e-6));
  scale_.observe(finite);
  if (!outcome.skipped) {
    each_network(members_, [&](int64_t i) {
      auto gradient = gradients_[i];
      if (factor != 1) gradient.mul_(factor);
      optimizer.begin_step(i);
      optimizer.update(i, 0, gradient, learning_rate);
    });
    if (discriminator_) discriminator_->update();
  } else if (discriminator_) {
    discriminator_->discard();
  }
  gradients_.zero_();
  return outcome;
}

}  // namespace dissent
