#include "evaluate/classwise_error.hpp"

#include "evaluate/reduce.hpp"

namespace dissent {

ColumnGroup ClasswiseErrors::group(const std::vector<int64_t>& units, const Predictor& predictor,
                                   const Calibrators& calibrators) {
  const auto add = [&](bool there, const char* after) -> metrics::ClasswiseReliability* {
    if (!there) return nullptr;
    entries_.push_back({predictor.name + "|ece_classwise" + after,
                        metrics::ClasswiseReliability(classes_, options_.bins)});
    return &entries_.back().bins;
  };
  auto *plain = add(true, ""), *temperature = add(calibrators.temperature.has_value(), "@T"),
       *vector = add(calibrators.vector.has_value(), "@V");
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
  for (auto& entry : entries_) {
    entry.bins.from_state(merged_state(comm, entry.bins.state()));
    columns.add_value(entry.key, entry.bins.expected_error());
  }
}

}  // namespace dissent
