#pragma once
#include <cstdint>
#include <vector>

#include "storage/feature_cache.hpp"
#include "storage/row_subset.hpp"

namespace dissent {

/// Reads rows [first, end) of a selection (places 0 .. selection.rows() - 1) in order, in the
/// file's dtype, to `embed` and `labels`, and to `index` unless that is null. Rows with gaps
/// between them are read together if they lie within 4 MiB, through a buffer of that size.
/// Error::kData with the file. Thread-safe if cache.concurrent_reads().
void read_selected(const FeatureCache& cache, const RowSelection& selection, int64_t first,
                   int64_t end, char* embed, int64_t* labels, int64_t* index);

}  // namespace dissent
