#include "evaluate/values/classwise_error.hpp"

#include <cstdint>
#include <vector>

#include "evaluate/values/reduce.hpp"

namespace dissent {

ColumnGroup ClasswiseErrors::group(const std::vector<int64_t>& units, const Predictor& predictor,
                                   const Calibrators& calibrators) {
  const auto add = [&](Scaling scaling) {
    entries_.push_back({{ColumnKind::kClasswiseError, predictor.name, scaling},
                        metrics::ClasswiseReliability(classes_, options_.bins)});
    return &entries_.back().bins;
  };
  auto* plain = add(Scaling::kNone);
  auto* temperature = calibrators.temperature ? add(Scaling::kTemperature) : nullptr;
  auto* vector = calibrators.vector ? add(Scaling::kVector) : nullptr;

  // Unlike other metrics this one has no value per row: probabilities of all classes go into
  // bins, and the group has no column ([0, n]).
  ColumnGroup group;
  group.values = [=, this](const MemberOutputs& outputs, const at::Tensor& labels) {
    const auto z =
        output_logits(unit_rows(outputs.logits, units, predictor.units), predictor, options_);
    plain->update(at::softmax(z, 1), labels);
    if (temperature) temperature->update(at::softmax(z / *calibrators.temperature, 1), labels);
    if (vector)
      vector->update(at::softmax(scores::scale_logits(z, *calibrators.vector), 1), labels);
    return at::empty({0, labels.size(0)}, at::kDouble);
  };
  return group;
}

void ClasswiseErrors::finish(Communicator& comm, SetColumns& columns) {
  // Merging is collective: all ranks made the same entries in the same order.
  for (auto& entry : entries_) {
    entry.bins.from_state(merged_state(comm, entry.bins.state()));
    columns.add_value(entry.key, entry.bins.expected_error());
  }
}

}  // namespace dissent
