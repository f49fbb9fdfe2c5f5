#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "report/table.hpp"

namespace dissent::report {

// Arguments of `dissent tables` and `dissent plot`. All throw Error::kUsage naming the option and
// what was expected.

/// "1..5", "42" or "1..3,7": in order, each once. option: "--seeds", for messages.
std::vector<int64_t> seed_list(const std::string& option, const std::string& text);
/// "key=value" or "key=a,b" (one of them); a condition each.
std::vector<Condition> conditions(const std::vector<std::string>& texts);
/// "ours=theirs".
std::vector<std::pair<std::string, std::string>> name_pairs(const std::string& option,
                                                            const std::vector<std::string>& texts);
/// "a,b".
std::vector<std::string> comma_list(const std::string& text);
/// "sample" 1, "population" 0.
int freedom_of(const std::string& deviation);
/// To the file, whole or not at all, or to the standard output for "-".
void write_output(const std::string& path, const std::string& text);

}  // namespace dissent::report
