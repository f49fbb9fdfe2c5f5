#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dissent {

/// Inputs on which networks are evaluated, row by row: features of a cache, or images. Nothing is
/// collective; one thread reads.
class EvaluationSet {
 public:
  virtual ~EvaluationSet() = default;
  EvaluationSet(const EvaluationSet&) = delete;
  EvaluationSet& operator=(const EvaluationSet&) = delete;

  const std::string& place() const { return place_; }  ///< path, for messages
  /// Name of the file or folder without its extension, for results.
  const std::string& name() const { return name_; }
  virtual int64_t rows() const = 0;
  /// Shape of one row's input: {D}, or {channels, S, S}.
  virtual std::vector<int64_t> input_shape() const = 0;
  /// Inputs of the networks: [count, input_shape] f32, host. Error::kData naming row and value if a
  /// value is not finite, or naming a damaged image.
  virtual at::Tensor inputs(int64_t first, int64_t count) const = 0;
  /// Images as the networks see them, before normalisation: [count, S, S, 3] u8. Error::kUsage for
  /// features.
  virtual at::Tensor pictures(int64_t first, int64_t count) const;
  /// Names of the classes by number; empty if there are none.
  virtual std::vector<std::string> class_names() const { return {}; }
  /// Name of the file of a row, for plots; "row 7" for features.
  virtual std::string row_name(int64_t row) const;
  /// [count] i64; -1 where unknown.
  virtual at::Tensor labels(int64_t first, int64_t count) const = 0;
  /// Error::kData naming the first row whose label is not in 0 .. classes - 1.
  virtual void check_labels(int64_t classes) const = 0;
  /// Error::kData unless the set has no class names, or these in this order; `source`: where the
  /// names come from, for messages.
  virtual void check_class_names(const std::vector<std::string>& /*names*/,
                                 const std::string& /*source*/) const {}
  /// Hash of the content: sets of the same identity have the same inputs and labels, whatever their
  /// paths. May read the whole set.
  virtual std::string identity() const = 0;

 protected:
  EvaluationSet(std::string place, std::string name)
      : place_(std::move(place)), name_(std::move(name)) {}

 private:
  std::string place_, name_;
};

/// A feature cache: a folder written by `dissent cache` or a file of SED. Error::kData as
/// FeatureCache::open.
std::unique_ptr<EvaluationSet> open_cache_set(const std::string& path);
/// The same inputs, all with this label.
std::unique_ptr<EvaluationSet> set_of_label(std::unique_ptr<EvaluationSet> set, int64_t label);
/// Several sets of the same input shape (else Error::kData), concatenated.
std::unique_ptr<EvaluationSet> pooled_set(std::vector<std::unique_ptr<EvaluationSet>> parts);

}  // namespace dissent
