#pragma once
#include <string>
#include <vector>

#include "config/schema.hpp"

namespace dissent::config {

/// The configuration in the structs as TOML: every key in the schema's order, optional tables only
/// if present. Reading the text gives bitwise the same structs, and the same text again.
std::string to_toml(const Schema& schema);

/// The same restricted to keys of Scope::kResult and the tables with such keys (including optional
/// tables without keys). Checkpoints store this text, so that they have the same bytes for every
/// grid, residency and output folder.
std::string result_toml(const Schema& schema);

/// 16 hexadecimal digits: XXH3_64 (seed 0) of result_toml's text. Runs with equal hashes give equal
/// results.
std::string config_hash(const Schema& schema);

/// Differences between two texts of to_toml, among keys of Scope::kResult, for the error about a
/// checkpoint of another configuration:
///   "optimizer.learning_rate: 0.1 in the file, 0.2 in this configuration"
///   "loss.a2d: not in the file, present in this configuration"
/// A key that the file lacks counts with its default (it was written by another version of the
/// program); keys that the schema does not know are listed too.
/// Throws Error::kUsage if a text is not TOML; `file` is the name of the first one in that message.
std::vector<std::string> differing_keys(const std::string& file_text, const std::string& this_text,
                                        const Schema& schema,
                                        const std::string& file = "checkpoint");

/// The same joined by "; ", for texts with different hashes; says so if no key differs (the file
/// was written by another version).
std::string difference(const std::string& file_text, const std::string& this_text,
                       const Schema& schema, const std::string& file);

}  // namespace dissent::config
