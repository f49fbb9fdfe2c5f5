#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "report/table.hpp"

namespace dissent::report {

// Arguments of `dissent tables` and `dissent plot`. Readers throw Error::kUsage with the option and
// the expected value.

/// "1..5", "42" or "1..3,7": sorted, each once. option: "--seeds", for messages.
std::vector<int64_t> seed_list(const std::string& option, const std::string& text);
/// One condition per text: "key=value", or "key=a,b" for either value.
std::vector<Condition> conditions(const std::vector<std::string>& texts);
/// "ours=theirs".
std::vector<std::pair<std::string, std::string>> name_pairs(const std::string& option,
                                                            const std::vector<std::string>& texts);
/// "a,b".
std::vector<std::string> comma_list(const std::string& text);
/// What is subtracted from n in the deviation: 1 for "sample", 0 for "population".
int freedom_of(const std::string& deviation);
/// Writes to a file, completely or not at all, or for "-" to stdout. Error::kData: cannot be
/// written.
void write_output(const std::string& path, const std::string& text);

}  // namespace dissent::report
