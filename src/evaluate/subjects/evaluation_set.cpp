#include "evaluate/subjects/evaluation_set.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "evaluate/subjects/content_hash.hpp"
#include "storage/feature_cache.hpp"

namespace dissent {
namespace {

constexpr int64_t kHashRows = 8192;

std::string name_of(const std::string& path) {
  auto normal = std::filesystem::path(path).lexically_normal();
  if (normal.filename().empty()) normal = normal.parent_path();
  return normal.stem().string();
}

// Cached features.
class CacheSet : public EvaluationSet {
 public:
  explicit CacheSet(const std::string& path)
      : EvaluationSet(path, name_of(path)), cache_(FeatureCache::open(path)) {}
  int64_t rows() const override { return cache_.rows(); }
  std::vector<int64_t> input_shape() const override { return {cache_.dim()}; }

  at::Tensor inputs(int64_t first, int64_t count) const override {
    auto x = cache_.read_rows(first, count);
    check_finite(x, first, cache_.path());
    return x;
  }
  at::Tensor labels(int64_t first, int64_t count) const override {
    return cache_.read_labels(first, count);
  }
  void check_labels(int64_t classes) const override { cache_.check_labels(classes, false); }

  // From the checksums of the shards. A file of SED has none, so its values are read.
  std::string identity() const override {
    if (!identity_.empty()) return identity_;
    ContentHash hash;
    hash.add(fmt::format("rows {} dim {} dtype {}", cache_.rows(), cache_.dim(),
                         dtype_name(cache_.dtype())));

    // Checksums of the shards identify the values without reading them.
    bool summed = !cache_.shards().empty();
    for (const auto& shard : cache_.shards()) {
      hash.add(fmt::format(" {} {}", shard.rows, shard.checksum));
      summed = summed && !shard.checksum.empty();
    }
    for (int64_t first = 0; !summed && first < cache_.rows(); first += kHashRows) {
      const int64_t count = std::min(kHashRows, cache_.rows() - first);
      hash.add(cache_.read_rows(first, count));
      hash.add(cache_.read_labels(first, count));
    }
    return identity_ = hash.text();
  }

 private:
  FeatureCache cache_;
  mutable std::string identity_;
};

// A set whose rows all get one label (key `label` of a set).
class LabelledSet : public EvaluationSet {
 public:
  LabelledSet(std::unique_ptr<EvaluationSet> set, int64_t label)
      : EvaluationSet(set->place(), set->name()), set_(std::move(set)), label_(label) {}
  int64_t rows() const override { return set_->rows(); }
  std::vector<int64_t> input_shape() const override { return set_->input_shape(); }

  at::Tensor inputs(int64_t first, int64_t count) const override {
    return set_->inputs(first, count);
  }
  at::Tensor pictures(int64_t first, int64_t count) const override {
    return set_->pictures(first, count);
  }
  std::vector<std::string> class_names() const override { return set_->class_names(); }
  std::string row_name(int64_t row) const override { return set_->row_name(row); }
  at::Tensor labels(int64_t, int64_t count) const override {
    return at::full({count}, label_, at::kLong);
  }

  void check_labels(int64_t classes) const override {
    DISSENT_CHECK(
        label_ < classes, kUsage,
        "evaluate.sets: label of {}: expected 0 .. {}, the classes of the networks, found {}",
        place(), classes - 1, label_);
  }
  std::string identity() const override {  // the logits cache stores labels with the logits
    return content_hash(fmt::format("{} label {}", set_->identity(), label_));
  }

 private:
  std::unique_ptr<EvaluationSet> set_;
  int64_t label_;
};

// Several files as one set; rows are numbered through all of them.
class PooledSet : public EvaluationSet {
 public:
  explicit PooledSet(std::vector<std::unique_ptr<EvaluationSet>> parts)
      : EvaluationSet(place_of(parts), parts[0]->name()), parts_(std::move(parts)) {
    // Ranks and metrics number the rows of all parts as one set, so inputs need one shape.
    for (const auto& part : parts_) {
      DISSENT_CHECK(part->input_shape() == input_shape(), kData,
                    "{}: expected inputs [{}] as in {}, with which it is pooled, found [{}]",
                    part->place(), fmt::join(input_shape(), ", "), parts_[0]->place(),
                    fmt::join(part->input_shape(), ", "));
      rows_ += part->rows();
    }
  }
  int64_t rows() const override { return rows_; }
  std::vector<int64_t> input_shape() const override { return parts_[0]->input_shape(); }

  at::Tensor inputs(int64_t first, int64_t count) const override {
    return gather(first, count, [](const EvaluationSet& part, int64_t at, int64_t n) {
      return part.inputs(at, n);
    });
  }
  at::Tensor pictures(int64_t first, int64_t count) const override {
    return gather(first, count, [](const EvaluationSet& part, int64_t at, int64_t n) {
      return part.pictures(at, n);
    });
  }
  std::vector<std::string> class_names() const override { return parts_[0]->class_names(); }
  std::string row_name(int64_t row) const override {
    // The part that has the row, and the number of the row in it.
    size_t part = 0;
    for (; part + 1 < parts_.size() && row >= parts_[part]->rows(); ++part)
      row -= parts_[part]->rows();
    return parts_[part]->row_name(row);
  }
  at::Tensor labels(int64_t first, int64_t count) const override {
    return gather(first, count, [](const EvaluationSet& part, int64_t at, int64_t n) {
      return part.labels(at, n);
    });
  }

  void check_labels(int64_t classes) const override {
    for (const auto& part : parts_) part->check_labels(classes);
  }
  void check_class_names(const std::vector<std::string>& names,
                         const std::string& source) const override {
    for (const auto& part : parts_) part->check_class_names(names, source);
  }

  std::string identity() const override {
    ContentHash hash;
    for (const auto& part : parts_) hash.add(part->identity() + "\n");
    return hash.text();
  }

 private:
  static std::string place_of(const std::vector<std::unique_ptr<EvaluationSet>>& parts) {
    DISSENT_CHECK(!parts.empty(), kInternal, "pooled set: expected at least one part, found none");
    return parts.size() == 1 ? parts[0]->place()
                             : fmt::format("{} and {} more", parts[0]->place(), parts.size() - 1);
  }
  template <class Read>
  at::Tensor gather(int64_t first, int64_t count, Read read) const {
    // Takes from each part the rows that it has of [first, first + count).
    std::vector<at::Tensor> pieces;
    for (const auto& part : parts_) {
      const int64_t n = std::clamp<int64_t>(part->rows() - first, 0, count);
      if (n > 0) pieces.push_back(read(*part, first, n));
      count -= n;
      first = std::max<int64_t>(first + n - part->rows(), 0);
      if (count == 0) break;
    }
    return pieces.size() == 1 ? pieces[0] : at::cat(pieces);
  }
  std::vector<std::unique_ptr<EvaluationSet>> parts_;
  int64_t rows_ = 0;
};

}  // namespace

at::Tensor EvaluationSet::pictures(int64_t, int64_t) const {
  DISSENT_FAIL(kUsage, "{}: expected images, found features", place());
}

std::string EvaluationSet::row_name(int64_t row) const { return fmt::format("row {}", row); }

std::unique_ptr<EvaluationSet> open_cache_set(const std::string& path) {
  return std::make_unique<CacheSet>(path);
}

std::unique_ptr<EvaluationSet> set_of_label(std::unique_ptr<EvaluationSet> set, int64_t label) {
  return std::make_unique<LabelledSet>(std::move(set), label);
}

std::unique_ptr<EvaluationSet> pooled_set(std::vector<std::unique_ptr<EvaluationSet>> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  return std::make_unique<PooledSet>(std::move(parts));
}

}  // namespace dissent
