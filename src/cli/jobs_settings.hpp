#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/described.hpp"
#include "config/document.hpp"
#include "jobs/sheet.hpp"

namespace dissent::cli {

/// Overrides the cells of a sheet's rows by `--set table.key=value` and `--ranks N`, whether or not
/// --where picks the rows, because rows depend on each other.
///   set    applies to each enabled row whose verb's configuration has the key (for a training: the
///          configuration of its data.kind), or for variables.NAME has the variable. Error::kUsage
///          for a setting that applies to no row ("did you mean ...?"), or is not table.key=value
///   ranks  0: as in the sheet; else for each row whose verb runs on several ranks (not tables,
///   plot,
///          imglist, config)
/// description: as in job_resolver.
void apply_settings(jobs::Sheet& sheet, const std::vector<std::string>& settings, int64_t ranks,
                    const std::function<config::Description(const std::string& name)>& description);

/// Schema of trainings on images.
inline constexpr const char* kImageSchema = "train-images";
/// Name of a row's schema: kImageSchema for a training on images, else the verb.
std::string schema_name(const std::string& verb, const config::Document& document);

}  // namespace dissent::cli
