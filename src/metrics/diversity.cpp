#include <dissent/metrics/diversity.hpp>

#include "metrics/host_values.hpp"

#include <cmath>

namespace dissent::metrics {
namespace {

// Values of p and log p that are held at once.
constexpr int64_t kMostValues = int64_t{1} << 21;

double p_log_p(double p) { return p == 0 ? 0 : p * std::log(p); }

}  // namespace

Diversity::Diversity(int64_t members, bool pairwise_divergence)
    : members_(members),
      pairwise_divergence_(pairwise_divergence),
      different_(members * members),
      both_right_(members * members) {
  DISSENT_CHECK(members >= 2, kUsage, "diversity: members: expected 2 or more, found {}", members);
}

void Diversity::update(const at::Tensor& outputs, const at::Tensor& labels, MemberOutputs kind) {
  check_outputs("diversity", "outputs", outputs, members_, 0);
  DISSENT_CHECK(outputs.size(0) == members_, kUsage,
                "diversity: outputs: expected {} members, found {}", members_, describe(outputs));
  if (labels.defined())
    check_labels("diversity", "labels", labels, outputs.size(1), outputs.size(2), outputs.device());
  const int64_t rows = outputs.size(1), classes = outputs.size(2),
                step = std::max<int64_t>(1, kMostValues / (members_ * classes));
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const auto block =
        outputs.detach().narrow(1, first, count).to(at::kCPU, at::kDouble).contiguous();
    const auto p = kind == MemberOutputs::kLogits ? at::softmax(block, -1) : block;
    const auto log_p = kind == MemberOutputs::kLogits ? at::log_softmax(block, -1) : block.log();
    count_predictions(block.argmax(-1), labels.defined()
                                            ? labels.narrow(0, first, count).to(at::kCPU)
                                            : at::Tensor());
    for (int64_t n = 0; n < count; ++n)
      add_row(p.const_data_ptr<double>() + n * classes,
              log_p.const_data_ptr<double>() + n * classes, count, classes);
  }
  rows_ += rows;
  if (labels.defined()) labelled_ += rows;
}

void Diversity::count_predictions(const at::Tensor& predictions, const at::Tensor& labels) {
  for (int64_t i = 0; i < members_; ++i)
    for (int64_t j = i; j < members_; ++j) {
      if (j > i)
        different_[i * members_ + j] += predictions[i].ne(predictions[j]).sum().item<int64_t>();
      if (labels.defined())
        both_right_[i * members_ + j] +=
            predictions[i].eq(labels).logical_and(predictions[j].eq(labels)).sum().item<int64_t>();
    }
}

// One sample: member m's values are at m * rows * classes. Sums run over members, then classes, in
// their order.
void Diversity::add_row(const double* p, const double* log_p, int64_t rows, int64_t classes) {
  const auto members = static_cast<double>(members_);
  double self = 0, cross = 0, total = 0, variance = 0, divergence = 0;
  for (int64_t c = 0; c < classes; ++c) {
    double sum = 0, sum_log = 0, of_class = 0, squares = 0;
    const auto at = [&](int64_t m) { return m * rows * classes + c; };
    for (int64_t m = 0; m < members_; ++m) {
      const double value = p[at(m)];
      sum += value;
      sum_log += log_p[at(m)];
      of_class += value == 0 ? 0 : value * log_p[at(m)];
    }
    const double mean = sum / members;
    for (int64_t m = 0; m < members_; ++m) squares += (p[at(m)] - mean) * (p[at(m)] - mean);
    self += of_class;
    cross += sum == 0 ? 0 : sum * sum_log;
    total -= p_log_p(mean);
    variance += squares / (members - 1);
    if (!pairwise_divergence_) continue;
    for (int64_t i = 0; i < members_; ++i)
      for (int64_t j = i + 1; j < members_; ++j) divergence -= p_log_p((p[at(i)] + p[at(j)]) / 2);
  }
  const double pairs = members * (members - 1) / 2;
  // Sum over ordered pairs of sum_c p_i (log p_i - log p_j), in one sum a member.
  kl_.add((members * self - cross) / (2 * pairs));
  variance_.add(variance / static_cast<double>(classes));
  total_entropy_.add(total);
  member_entropy_.add(-self / members);
  if (pairwise_divergence_) jensen_shannon_.add(divergence / pairs + self / members);
}

void Diversity::merge(const Diversity& other) {
  DISSENT_CHECK(members_ == other.members_ && pairwise_divergence_ == other.pairwise_divergence_,
                kUsage, "diversity: merge: expected the same members");
  rows_ += other.rows_;
  labelled_ += other.labelled_;
  for (size_t i = 0; i < different_.size(); ++i) {
    different_[i] += other.different_[i];
    both_right_[i] += other.both_right_[i];
  }
  kl_.merge(other.kl_);
  jensen_shannon_.merge(other.jensen_shannon_);
  variance_.merge(other.variance_);
  total_entropy_.merge(other.total_entropy_);
  member_entropy_.merge(other.member_entropy_);
}

void Diversity::finish_pairs(DiversityFigures& figures) const {
  double q = 0, rho = 0, fault = 0, unequal = 0, q_pairs = 0, rho_pairs = 0;
  const auto n = static_cast<double>(rows_),
             pairs = static_cast<double>(members_ * (members_ - 1)) / 2;
  for (int64_t i = 0; i < members_; ++i)
    for (int64_t j = i + 1; j < members_; ++j) {
      const auto a = static_cast<double>(both_right_[i * members_ + j]);
      const double b = static_cast<double>(both_right_[i * members_ + i]) - a,
                   c = static_cast<double>(both_right_[j * members_ + j]) - a;
      const double d = n - a - b - c;
      const double up = a * d - b * c, down = a * d + b * c,
                   norm = std::sqrt((a + b) * (c + d)) * std::sqrt((a + c) * (b + d));
      if (down > 0) q += up / down, ++q_pairs;
      if (norm > 0) rho += up / norm, ++rho_pairs;
      fault += d / n;
      unequal += (b + c) / n;
    }
  figures.q_statistic = q / q_pairs;
  figures.correlation = rho / rho_pairs;
  figures.double_fault = fault / pairs;
  figures.unequal_success = unequal / pairs;
}

DiversityFigures Diversity::finish() const {
  DISSENT_CHECK(rows_ > 0, kData, "diversity: expected at least one sample, found none");
  DISSENT_CHECK(labelled_ == 0 || labelled_ == rows_, kUsage,
                "diversity: labels: expected for all {} samples or none, found for {}", rows_,
                labelled_);
  const auto n = static_cast<double>(rows_);
  int64_t different = 0;
  for (const int64_t count : different_) different += count;
  DiversityFigures figures;
  figures.disagreement =
      static_cast<double>(different) / (n * static_cast<double>(members_ * (members_ - 1) / 2));
  figures.kl = kl_.finish() / n;
  figures.jensen_shannon = pairwise_divergence_ ? jensen_shannon_.finish() / n : std::nan("");
  figures.variance = variance_.finish() / n;
  figures.total_entropy = total_entropy_.finish() / n;
  figures.member_entropy = member_entropy_.finish() / n;
  figures.mutual_information = figures.total_entropy - figures.member_entropy;
  if (labelled_ > 0) finish_pairs(figures);
  return figures;
}

at::Tensor Diversity::disagreement_matrix() const {
  DISSENT_CHECK(rows_ > 0, kData, "diversity: expected at least one sample, found none");
  const auto counts = at::tensor(different_, at::kLong).view({members_, members_}).to(at::kDouble);
  return (counts + counts.t()) / static_cast<double>(rows_);
}

at::Tensor Diversity::state() const {
  std::vector<int64_t> words{rows_, labelled_};
  words.insert(words.end(), different_.begin(), different_.end());
  words.insert(words.end(), both_right_.begin(), both_right_.end());
  for (const auto* sum : {&kl_, &jensen_shannon_, &variance_, &total_entropy_, &member_entropy_}) {
    words.resize(words.size() + ExactSum::kWords);
    sum->write(words.data() + words.size() - ExactSum::kWords);
  }
  return at::tensor(words, at::kLong);
}

void Diversity::from_state(const at::Tensor& state) {
  const auto squares = static_cast<int64_t>(different_.size());
  check_state("diversity", state, {2 + 2 * squares + 5 * ExactSum::kWords});
  const auto* words = state.const_data_ptr<int64_t>();
  rows_ = words[0];
  labelled_ = words[1];
  words += 2;
  for (auto* counts : {&different_, &both_right_}) {
    counts->assign(words, words + squares);
    words += squares;
  }
  for (auto* sum : {&kl_, &jensen_shannon_, &variance_, &total_entropy_, &member_entropy_}) {
    *sum = ExactSum::read(words);
    words += ExactSum::kWords;
  }
}

}  // namespace dissent::metrics
