#pragma once
#include <string>
#include <vector>

#include "config/errors.hpp"
#include "config/node.hpp"

namespace dissent::config {

/// Names in the table [variables] of a document, sorted; none without that table.
std::vector<std::string> variable_names(const Node& root);

/// Takes the table [variables] out of the document and puts its values for `${name}` into every
/// text. Values are texts, integers and numbers; a text may refer to other variables. Errors, each
/// with its place: an unknown variable, a brace that is not closed, variables that refer to each
/// other in a circle, a value of another kind, a variable that is not among those `of_files` (so an
/// override gave it) and that no text refers to. Returns their names, sorted.
std::vector<std::string> put_variables(Node& root, const std::vector<std::string>& of_files,
                                       ConfigErrors& errors);

}  // namespace dissent::config
