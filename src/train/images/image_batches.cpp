#include "train/images/image_batches.hpp"

#include <cstdint>
#include <utility>

namespace dissent {

ImageBatches::ImageBatches(const Options& options, const ImageData& data,
                           const ImagePlanOptions& plan, const ImageMembers& members,
                           const ImageStepper& stepper, const Grid& grid)
    : options_(options),
      data_(data),
      plan_(plan),
      members_(members),
      stepper_(stepper),
      grid_(grid),
      loader_({.workers = options.workers, .skip_damaged = options.skip_damaged}) {}

void ImageBatches::begin(const ImageEpoch& epoch, int64_t first_batch) {
  epoch_ = &epoch;
  requested_.clear();
  next_request_ = first_batch;
}

void ImageBatches::prefetch() {
  const auto ahead = static_cast<size_t>(options_.workers > 0 ? options_.prefetch : 1);
  while (requested_.size() < ahead && next_request_ < epoch_->batches())
    requested_.push_back(request(next_request_++));
}

ImageBatches::PendingRows ImageBatches::load(const TransformedSet& set,
                                             const std::vector<int64_t>& rows, uint64_t stream) {
  const auto total = static_cast<int64_t>(rows.size());
  const Part part = part_of(total, grid_.shape.data, grid_.data_part);

  // A row's random draws depend on seed, stream and row number, so a part of a batch has the pixels
  // that it has in the whole batch.
  const auto first = rows.begin() + part.first;
  return {loader_.load({.source = set.source.get(),
                        .transform = &set.transform,
                        .rows = {first, first + part.count},
                        .seed = options_.seed,
                        .stream = stream}),
          total};
}

// Requests this rank's rows of everything that the batch needs.
ImageBatches::Requested ImageBatches::request(int64_t batch) {
  Requested requested;
  requested.input = {.epoch = epoch_->epoch(),
                     .batch = batch,
                     .seed = options_.seed,
                     .counter = epoch_->counter(batch),
                     .drawn_member = epoch_->drawn_member(batch)};

  const int64_t own_batches = plan_.same_batch ? 1 : members_.networks();
  for (int64_t i = 0; i < own_batches; ++i) {
    const int64_t member = plan_.same_batch ? 0 : members_.first + i;
    requested.own.push_back(load(data_.train, epoch_->rows(member, batch), epoch_->stream(member)));
  }
  if (!stepper_.reads_common_batch(requested.input)) return requested;

  // The batch of the ensemble losses: unlabelled images, or the batch of the drawn member, which
  // this rank may have requested already.
  const int64_t drawn = requested.input.drawn_member;
  if (data_.unlabelled) {
    requested.common =
        load(*data_.unlabelled, epoch_->unlabelled_rows(batch), epoch_->unlabelled_stream());
  } else if (members_.holds(drawn)) {
    requested.common_network = drawn - members_.first;
  } else {
    requested.common = load(data_.train, epoch_->rows(drawn, batch), epoch_->stream(drawn));
  }
  return requested;
}

ImageRows ImageBatches::receive(PendingRows& rows, bool labelled) const {
  const auto batch = rows.future.get();
  // Damaged images are left out by every rank that sees the batch: without data ranks the total is
  // what has arrived.
  const int64_t total = grid_.shape.data == 1 ? batch.x.size(0) : rows.total;
  return {batch.x.to(members_.values.options()),
          labelled ? batch.labels.to(members_.values.device()) : at::Tensor(), total};
}

ImageStepInput ImageBatches::next() {
  prefetch();
  auto requested = std::move(requested_.front());
  requested_.pop_front();

  auto input = std::move(requested.input);
  for (auto& rows : requested.own) input.own.push_back(receive(rows, /*labelled=*/true));
  if (requested.common) input.common = receive(*requested.common, /*labelled=*/!data_.unlabelled);
  if (requested.common_network >= 0) input.common = input.own[requested.common_network];

  // Workers prepare the batches ahead while this one computes; without workers pixels are made on
  // this rank's threads, when they are needed.
  if (options_.workers > 0) prefetch();
  return input;
}

}  // namespace dissent
