#pragma once
#include <string>
#include <vector>

namespace dissent::jobs {

struct Imported {
  std::string text;  ///< the sheet, CSV
  std::vector<std::string>
      notes;  ///< what was left out or changed, a line each: "training.csv:3: ..."
};

/// One of SED's sheets (columns path_to_main, path_to_default_config, whether_to_run, delta:a/b;
/// caching, training, evaluation; filled ones too) as a sheet of dissent:
///   caching     a row a set, of configs/sed/caching_<set>.toml; the row of ImageNet-C expands to
///   its
///               15 corruptions at two severities; cache_save_path NAME.hdf5 -> NAME.cache
///   training    configs/sed/<name>.toml
///   evaluation  one row of configs/sed/evaluation.toml, which computes what all tables need, and a
///               row a table (eval_type), after it
///   delta:...   -> set:... where there is such a key: paths, weights, passes, epochs, seeds, ...
///   whether_to_run stays; __COMMA__ -> a comma, Default -> an empty cell, EMPTY_STRING -> "",
///   [a b] -> [a, b].
/// Columns that its runner writes (status, walltime, figures) are left out; a delta without a
/// counterpart is kept as free text and named in `notes`.
/// Error::kData if it is none of these sheets, or a row is of a set or table that is not known.
Imported import_sheet(const std::string& path);
Imported import_text(const std::string& path, const std::string& text);

}  // namespace dissent::jobs
