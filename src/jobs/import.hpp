#pragma once
#include <string>
#include <vector>

namespace dissent::jobs {

struct Imported {
  std::string text;  ///< the sheet, CSV
  /// What was left out or changed, one line each: "training.csv:3: ...".
  std::vector<std::string> notes;
};

/// Converts one of SED's sheets (columns path_to_main, path_to_default_config, whether_to_run,
/// delta:a/b; caching, training or evaluation; also after a run) to a sheet of dissent:
///   caching     one row per set with configs/sed/caching_<set>.toml; the row of ImageNet-C expands
///               to its 15 corruptions at two severities; cache_save_path NAME.hdf5 -> NAME.cache
///   training    configs/sed/<name>.toml
///   evaluation  one row with configs/sed/evaluation.toml, which computes the values of all tables,
///               and after it one row per table (eval_type)
///   delta:...   -> set:... if the key has a counterpart: paths, weights, passes, epochs, seeds,
///   ... whether_to_run stays; __COMMA__ -> a comma, Default -> an empty cell, EMPTY_STRING -> "",
///   [a b] -> [a, b].
/// Columns that its runner writes (status, walltime, values) are left out; a delta without a
/// counterpart is kept as free text and reported in `notes`. Error::kData for another kind of
/// sheet, or a row of an unknown set or table.
Imported import_sheet(const std::string& path);
Imported import_text(const std::string& path, const std::string& text);

}  // namespace dissent::jobs
