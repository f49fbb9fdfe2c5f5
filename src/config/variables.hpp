#pragma once
#include <string>
#include <vector>

#include "config/errors.hpp"
#include "config/node.hpp"

namespace dissent::config {

/// Names in the table [variables] of a document, sorted; none without that table.
std::vector<std::string> variable_names(const Node& root);

/// Removes the table [variables] from the document and replaces `${name}` by its values in every
/// string. Values are strings, integers and numbers; a string may refer to other variables. Errors,
/// each with its place: an unknown variable, a brace that is not closed, variables that refer to
/// each other in a cycle, a value of another type, an unused variable that is not in `of_files` (so
/// it comes from an override). Returns the names, sorted.
std::vector<std::string> put_variables(Node& root, const std::vector<std::string>& of_files,
                                       ConfigErrors& errors);

}  // namespace dissent::config
