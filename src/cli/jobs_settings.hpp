#pragma once
#include <functional>
#include <string>
#include <vector>

#include "config/described.hpp"
#include "config/document.hpp"
#include "jobs/sheet.hpp"

namespace dissent::cli {

/// Puts `--set table.key=value` and `--ranks N` into the cells of a sheet's rows, over what they
/// hold, whether or not --where picks the rows: what one row waits for is what another runs.
///   set    taken by each row that is enabled and whose verb's configuration has the key (of a
///          training: that of its data.kind), or for variables.NAME has the variable; other rows
///          stay as they are. Error::kUsage for a setting that no row takes ("did you mean ...?"),
///          or that is no table.key=value
///   ranks  0: as the sheet says; else of each row whose verb ranks run together (not tables, plot,
///          imglist, config)
/// description: as of job_resolver.
void apply_settings(jobs::Sheet& sheet, const std::vector<std::string>& settings, int64_t ranks,
                    const std::function<config::Description(const std::string& name)>& description);

/// "train-images" for a training on images, else the verb: the name of a row's schema.
std::string schema_name(const std::string& verb, const config::Document& document);

}  // namespace dissent::cli
