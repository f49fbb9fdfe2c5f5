#include <dissent/metrics/diversity.hpp>

#include "metrics/host_values.hpp"

#include <algorithm>
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

  // Blocks bound the memory for p and log p; sums are exact, so the block size changes no bit.
  const int64_t rows = outputs.size(1), classes = outputs.size(2),
                step = std::max<int64_t>(1, kMostValues / (members_ * classes));
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const auto block =
        outputs.detach().narrow(1, first, count).to(at::kCPU, at::kDouble).contiguous();
    const auto p = kind == MemberOutputs::kLogits ? at::softmax(block, -1) : block;
    const auto log_p = kind == MemberOutputs::kLogits ? at::log_softmax(block, -1) : block.log();

    // Predictions are the largest outputs: the softmax does not change their order.
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
  // Upper triangle: different_ of pairs, both_right_ with the members' own counts on the
  // diagonal.
  for (int64_t i = 0; i < members_; ++i)
    for (int64_t j = i; j < members_; ++j) {
      if (j > i)
        different_[i * members_ + j] += predictions[i].ne(predictions[j]).sum().item<int64_t>();
      if (labels.defined())
        both_right_[i * members_ + j] +=
            predictions[i].eq(labels).logical_and(predictions[j].eq(labels)).sum().item<int64_t>();
    }
}

// Adds one sample; the values of member m start at m * rows * classes. Sums run over members, then
// classes, in a fixed order.
void Diversity::add_row(const double* p, const double* log_p, int64_t rows, int64_t classes) {
  const auto members = static_cast<double>(members_);
  double self = 0, cross = 0, total = 0, variance = 0, divergence = 0;
  for (int64_t c = 0; c < classes; ++c) {
    double sum = 0, sum_log = 0, of_class = 0, squares = 0;
    const auto at = [&](int64_t m) { return m * rows * classes + c; };

    // Sums over members of p, log p and p log p for this class.
    for (int64_t m = 0; m < members_; ++m) {
      const double value = p[at(m)];
      sum += value;
      sum_log += log_p[at(m)];
      of_class += value == 0 ? 0 : value * log_p[at(m)];
    }

    // Variance over members about their mean, and the entropy term of the mean prediction.
    const double mean = sum / members;
    for (int64_t m = 0; m < members_; ++m) squares += (p[at(m)] - mean) * (p[at(m)] - mean);
    self += of_class;
    cross += sum == 0 ? 0 : sum * sum_log;
    total -= p_log_p(mean);
    variance += squares / (members - 1);

    // Jensen-Shannon divergence needs the entropy of the mean of each pair.
    if (!pairwise_divergence_) continue;
    for (int64_t i = 0; i < members_; ++i)
      for (int64_t j = i + 1; j < members_; ++j) divergence -= p_log_p((p[at(i)] + p[at(j)]) / 2);
  }

  // KL: sum over ordered pairs of sum_c p_i (log p_i - log p_j) = M sum_i p_i log p_i minus
  // (sum_i p_i) (sum_j log p_j), which needs one sum per member instead of one per pair.
  const double pairs = members * (members - 1) / 2;
  kl_.add((members * self - cross) / (2 * pairs));
  variance_.add(variance / static_cast<double>(classes));
  total_entropy_.add(total);
  member_entropy_.add(-self / members);
  if (pairwise_divergence_) jensen_shannon_.add(divergence / pairs + self / members);
}

void Diversity::merge(const Diversity& other) {
  DISSENT_CHECK(members_ == other.members_ && pairwise_divergence_ == other.pairwise_divergence_,
                kUsage, "diversity: merge: expected the same members");

  // Counts and exact sums: a merge has the bits of one long update.
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

void Diversity::finish_pairs(DiversityValues& values) const {
  // Means over pairs of members, each from the counts of a 2 x 2 table (Kuncheva and Whitaker,
  // 2003).
  double q = 0, rho = 0, fault = 0, unequal = 0, q_pairs = 0, rho_pairs = 0;
  const auto n = static_cast<double>(rows_),
             pairs = static_cast<double>(members_ * (members_ - 1)) / 2;
  for (int64_t i = 0; i < members_; ++i)
    for (int64_t j = i + 1; j < members_; ++j) {
      // The 2 x 2 table of a pair: a both correct, b and c only one correct, d both wrong.
      const auto a = static_cast<double>(both_right_[i * members_ + j]);
      const double b = static_cast<double>(both_right_[i * members_ + i]) - a,
                   c = static_cast<double>(both_right_[j * members_ + j]) - a;
      const double d = n - a - b - c;

      // Pairs with a quotient of 0 / 0 are omitted from its mean.
      const double up = a * d - b * c, down = a * d + b * c,
                   norm = std::sqrt((a + b) * (c + d)) * std::sqrt((a + c) * (b + d));
      if (down > 0) {
        q += up / down;
        ++q_pairs;
      }
      if (norm > 0) {
        rho += up / norm;
        ++rho_pairs;
      }

      // Shares of samples, which every pair has.
      fault += d / n;
      unequal += (b + c) / n;
    }

  values.q_statistic = q / q_pairs;
  values.correlation = rho / rho_pairs;
  values.double_fault = fault / pairs;
  values.unequal_success = unequal / pairs;
}

DiversityValues Diversity::finish() const {
  DISSENT_CHECK(rows_ > 0, kData, "diversity: expected at least one sample, found none");
  DISSENT_CHECK(labelled_ == 0 || labelled_ == rows_, kUsage,
                "diversity: labels: expected for all {} samples or none, found for {}", rows_,
                labelled_);
  const auto n = static_cast<double>(rows_);

  // Only the upper triangle of different_ is filled: each pair counts once.
  int64_t different = 0;
  for (const int64_t count : different_) different += count;
  DiversityValues values;
  values.disagreement =
      static_cast<double>(different) / (n * static_cast<double>(members_ * (members_ - 1) / 2));

  // Each sample added one value, a mean over pairs, members or classes: n of them in each sum.
  values.kl = kl_.finish() / n;
  values.jensen_shannon = pairwise_divergence_ ? jensen_shannon_.finish() / n : std::nan("");
  values.variance = variance_.finish() / n;
  values.total_entropy = total_entropy_.finish() / n;
  values.member_entropy = member_entropy_.finish() / n;
  values.mutual_information = values.total_entropy - values.member_entropy;
  if (labelled_ > 0) finish_pairs(values);
  return values;
}

at::Tensor Diversity::disagreement_matrix() const {
  DISSENT_CHECK(rows_ > 0, kData, "diversity: expected at least one sample, found none");

  // Only pairs i < j are counted; the matrix is symmetric.
  const auto counts = at::tensor(different_, at::kLong).view({members_, members_}).to(at::kDouble);
  return (counts + counts.t()) / static_cast<double>(rows_);
}

at::Tensor Diversity::state() const {
  // Integers only, so that states of ranks are merged by a sum.
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

  // In the order of state().
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
