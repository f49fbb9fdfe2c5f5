#pragma once
#include <string>
#include <vector>

#include "config/schema.hpp"

namespace dissent::config {

/// The configuration as it stands in the structs, as TOML: every key in the schema's order,
/// optional tables only if present. Reading the text gives the same structs bit for bit, and the
/// same text again.
std::string to_toml(const Schema& schema);

/// The same reduced to the keys of Scope::kResult and the tables that hold one (optional tables
/// without keys count): what a checkpoint keeps, so that it has the same bytes for every grid,
/// residency and output folder.
std::string result_toml(const Schema& schema);

/// 16 hexadecimal digits: XXH3_64 (seed 0) over result_toml's text. Runs of equal hash give equal
/// results.
std::string config_hash(const Schema& schema);

/// What differs between two of to_toml's texts, among keys of Scope::kResult, for refusing a
/// checkpoint of another configuration:
///   "optimizer.learning_rate: 0.1 in the file, 0.2 in this configuration"
///   "loss.a2d: not in the file, present in this configuration"
/// A key that the file lacks counts with its default (a program of another version wrote it); one
/// that the schema does not know is named too.
/// Throws Error::kUsage if a text is not TOML; `file` names the first one there.
std::vector<std::string> differing_keys(const std::string& file_text, const std::string& this_text,
                                        const Schema& schema,
                                        const std::string& file = "checkpoint");

/// The same joined by "; ", for texts of different hashes: where no key differs (another version
/// wrote the file), it says so.
std::string difference(const std::string& file_text, const std::string& this_text,
                       const Schema& schema, const std::string& file);

}  // namespace dissent::config
