#include "train/images/image_plan.hpp"

#include <dissent/error.hpp>
#include <dissent/losses/balanced_rows.hpp>

#include <algorithm>

#include "core/random.hpp"

namespace dissent {
namespace {

std::vector<int32_t> shuffled(Random random, int64_t rows) {
  const auto order = random.permutation(rows);
  return {order.begin(), order.end()};
}

}  // namespace

int64_t batches_per_epoch(const ImagePlanOptions& options) {
  // Balanced batches are drawn, not cut from an order: there is no rest that a short batch would
  // hold.
  const bool whole_only = options.drop_last || options.samples_per_class > 0;
  const int64_t batches =
      (options.rows + (whole_only ? 0 : options.batch_size - 1)) / options.batch_size;
  DISSENT_CHECK(batches > 0, kUsage,
                "data.batch_size: expected at most the {} images of the set, found {}",
                options.rows, options.batch_size);
  return batches;
}

ImageEpoch::ImageEpoch(const ImagePlanOptions& options, int64_t epoch)
    : options_(options), epoch_(epoch) {
  DISSENT_CHECK(options.rows < int64_t{1} << 31, kUsage,
                "image plan: rows: expected fewer than 2^31, found {}", options.rows);
}

int64_t ImageEpoch::batches() const { return batches_per_epoch(options_); }

const std::vector<int32_t>& ImageEpoch::order(int64_t member) const {
  // Made on first use: a rank needs the orders of its own members and of drawn ones alone.
  auto& order = orders_[member];
  if (order.empty())
    order = shuffled(Random(options_.seed, Purpose::kOrder, epoch_, member), options_.rows);
  return order;
}

std::vector<int64_t> ImageEpoch::rows(int64_t member, int64_t batch) const {
  member = loader(member);
  if (options_.samples_per_class > 0) {
    // The draws are keyed by seed, epoch and step only: each member gets its own numbers of steps.
    const int64_t step = batch * options_.members + member;
    return losses::balanced_rows(options_.rows_of_classes, options_.batch_size,
                                 options_.samples_per_class, options_.seed, epoch_, step);
  }

  const auto& all = order(member);
  const auto first = all.begin() + batch * options_.batch_size;
  return {first, std::min(first + options_.batch_size, all.end())};
}

uint64_t ImageEpoch::stream(int64_t member) const {
  return static_cast<uint64_t>(epoch_) * (options_.members + 1) + loader(member);
}

uint64_t ImageEpoch::unlabelled_stream() const {
  return static_cast<uint64_t>(epoch_) * (options_.members + 1) + options_.members;
}

std::vector<int64_t> ImageEpoch::unlabelled_rows(int64_t batch) const {
  if (options_.unlabelled_rows == 0) return {};

  // Each epoch has a new order, computed once.
  if (unlabelled_order_.empty())
    unlabelled_order_ = shuffled(Random(options_.seed, Purpose::kUnlabelledOrder, epoch_),
                                 options_.unlabelled_rows);

  std::vector<int64_t> rows;
  for (int64_t i = 0; i < options_.unlabelled_batch; ++i)
    rows.push_back(
        unlabelled_order_[(batch * options_.unlabelled_batch + i) % options_.unlabelled_rows]);
  return rows;
}

int64_t ImageEpoch::drawn_member(int64_t batch) const {
  return Random(options_.seed, Purpose::kRepulsion, epoch_, batch)
      .below(static_cast<uint32_t>(options_.members));
}

}  // namespace dissent
