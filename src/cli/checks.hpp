#pragma once
#include <cstdint>
#include <string>

#include "cli/command_line.hpp"
#include "cli/files.hpp"
#include "config/document.hpp"
#include "data/image_source.hpp"

namespace dissent::cli {

// What each verb refuses before it begins: keys and values of its configuration, what does not go
// together, names of data sets, scores, layouts, the grid on so many ranks, and (where `files`
// looks) its files. The verb calls it, and `dissent jobs` for each row. Error::kUsage,
// Error::kData. Not collective.

void check_train(const CommandLine& line, const config::Document& document, int64_t ranks,
                 Files& files);
/// The grid of a training on so many ranks: "1 x 4 x 2 (runs x members x data)". Error::kUsage.
std::string train_grid_text(const config::Document& document, int64_t ranks);
void check_cache(const CommandLine& line, const config::Document& document, Files& files);
void check_evaluate(const CommandLine& line, const config::Document& document, Files& files);
void check_export(const CommandLine& line, Files& files);

// Parts of them: the images of a table ("data", "evaluate.sets[2]"), which are listed where they
// are there, and a cache or SED's file, of which the header is read.
void check_images(const std::string& table, const ImageDataOptions& data, Files& files);
void check_features(const std::string& key, const std::string& path, Files& files);

}  // namespace dissent::cli
