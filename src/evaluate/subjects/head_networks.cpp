#include "evaluate/subjects/head_networks.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "evaluate/subjects/content_hash.hpp"

namespace dissent {
namespace {

// Rows of one matrix product: small enough for many tasks, and a fixed number, so that bits do not
// depend on the number of threads.
constexpr int64_t kProductRows = 256;

class HeadNetworks : public MemberNetworks {
 public:
  HeadNetworks(std::shared_ptr<const Head> head, at::Tensor members, int64_t dim, int64_t classes)
      : head_(std::move(head)), members_(std::move(members)), dim_(dim), classes_(classes) {
    // The last layer: scores on features need it, and its input is the features of a member.
    const auto& layout = head_->layout();
    const bool named_head = layout.find("head.weight") != nullptr;
    weight_ = layout.find(named_head ? "head.weight" : "fc2.weight");
    bias_ = layout.find(named_head ? "head.bias" : "fc2.bias");
    DISSENT_CHECK(weight_ && bias_, kInternal,
                  "head: expected a classifier named head or fc2, found neither");
    shared_ = layout.entries().size() == 2;  // only a classifier, which reads the cached features
  }
  int64_t members() const override { return members_.size(0); }
  int64_t classes() const override { return classes_; }
  int64_t feature_dim() const override { return weight_->shape[1]; }
  bool shared_features() const override { return shared_; }
  bool features_are_inputs() const override { return shared_; }

  void check_input(const EvaluationSet& set, const std::string& network) const override {
    const auto shape = set.input_shape();
    DISSENT_CHECK(shape.size() == 1, kData,
                  "{}: expected features, the inputs of {}, found images [{}]", set.place(),
                  network, fmt::join(shape, ", "));
    DISSENT_CHECK(shape[0] == dim_, kData,
                  "{}: expected {} features per row, as in the training of {}, found {}",
                  set.place(), dim_, network, shape[0]);
  }

  MemberOutputs forward(const at::Tensor& x, std::span<const int64_t> which,
                        bool features) const override {
    const auto n = static_cast<int64_t>(which.size());
    const int64_t rows = x.size(0), pieces = divide_up(rows, kProductRows);
    const bool own = features && !shared_;
    MemberOutputs out{at::empty({n, rows, classes_}, x.options()),
                      own ? at::empty({n, rows, feature_dim()}, x.options()) : at::Tensor(), 0};

    // A task is one member on one piece of the rows.
    parallel_tasks(n * pieces, [&](int64_t task) {
      const int64_t i = task / pieces, first = task % pieces * kProductRows,
                    count = std::min(kProductRows, rows - first);
      std::vector<at::Tensor> saved;
      const auto part = x.narrow(0, first, count);
      out.logits[i]
          .narrow(0, first, count)
          .copy_(head_->forward(members_[which[i]], part, own ? &saved : nullptr));
      if (own)
        out.features[i]
            .narrow(0, first, count)
            .copy_(saved.back());  // the last saved tensor is the input of the classifier
    });

    // A linear head reads the inputs themselves.
    if (features && shared_) out.features = x.unsqueeze(0);
    return out;
  }

  scores::LinearHead head(int64_t member) const override {
    return {parameter(members_[member], *weight_).clone(),
            parameter(members_[member], *bias_).clone()};
  }

  std::unique_ptr<MemberNetworks> soup(std::span<const int64_t> which) const override {
    // The weights of all members are not copied.
    const auto chosen =
        static_cast<int64_t>(which.size()) == members()
            ? members_
            : members_.index_select(
                  0, at::tensor(at::ArrayRef<int64_t>(which.data(), which.size()), at::kLong));
    return std::make_unique<HeadNetworks>(head_, scores::uniform_soup(chosen).unsqueeze(0), dim_,
                                          classes_);
  }

  std::string weights_hash() const override {
    ContentHash hash;
    for (const auto& entry : head_->layout().entries()) {
      hash.add(entry.name);
      hash.add(stacked_parameter(members_, entry));
    }
    return hash.text();
  }

 private:
  std::shared_ptr<const Head> head_;
  at::Tensor members_;
  int64_t dim_, classes_;
  const ParameterEntry *weight_, *bias_;
  bool shared_;
};

}  // namespace

std::vector<int64_t> all_of(int64_t count) {
  std::vector<int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

MemberSaliency MemberNetworks::saliency(const at::Tensor&, const at::Tensor&) const {
  DISSENT_FAIL(
      kUsage,
      "evaluate.saliency: expected networks on images, found heads on features, which have "
      "no saliency maps");
}

std::unique_ptr<MemberNetworks> head_networks(std::shared_ptr<const Head> head, at::Tensor members,
                                              int64_t dim, int64_t classes) {
  return std::make_unique<HeadNetworks>(std::move(head), std::move(members), dim, classes);
}

}  // namespace dissent
