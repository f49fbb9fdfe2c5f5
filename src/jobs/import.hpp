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
///   path_to_default_config -> verb and config (configs/sed/<name>.toml, jobs/sed/...),
///       whether_to_run -> enabled, delta:... -> set:... where there is such a key;
///   __COMMA__ -> a comma, Default -> an empty cell, EMPTY_STRING -> "", [a b] -> [a, b].
/// Columns that its runner writes (status, walltime, figures) are left out; a delta without a
/// counterpart is kept as free text and named in `notes`.
/// Error::kData if it is none of these sheets.
Imported import_sheet(const std::string& path);
Imported import_text(const std::string& path, const std::string& text);

}  // namespace dissent::jobs
