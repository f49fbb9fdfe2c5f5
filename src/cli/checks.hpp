#pragma once
#include <cstdint>
#include <string>

#include "cli/command_line.hpp"
#include "cli/files.hpp"
#include "config/document.hpp"
#include "data/options.hpp"

namespace dissent::cli {

// The checks of each verb before it starts: keys and values of its configuration, combinations of
// keys, names of data sets, scores and layouts, the grid for this number of ranks, and (through
// `files`) its input files. The verb calls its check, and `dissent jobs` calls it for each row.
// Error::kUsage, Error::kData. Not collective.

/// `dissent train` and `dissent plan`; ranks: of the world, for the grid.
void check_train(const CommandLine& line, const config::Document& document, int64_t ranks,
                 Files& files);
/// The grid of a training on this number of ranks: "1 x 4 x 2 (runs x members x data)".
/// Error::kUsage.
std::string train_grid_text(const config::Document& document, int64_t ranks);
/// `dissent cache`.
void check_cache(const CommandLine& line, const config::Document& document, Files& files);
/// `dissent evaluate`.
void check_evaluate(const CommandLine& line, const config::Document& document, Files& files);
/// `dissent export`.
void check_export(const CommandLine& line, Files& files);

/// Part of these checks: the images of a table ("data", "evaluate.sets[2]"), which are listed if
/// they exist.
void check_images(const std::string& table, const ImageDataOptions& data, Files& files);
/// Part of these checks: a feature cache or a file of SED, whose header is read if it exists. key:
/// for messages; an empty path is not checked.
void check_features(const std::string& key, const std::string& path, Files& files);

}  // namespace dissent::cli
