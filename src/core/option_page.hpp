#pragma once
#include <string>

#include "core/options.hpp"

namespace dissent {

/// Escapes text for a cell of a Markdown table: a bar would end the cell, an angle bracket start a
/// tag.
std::string markdown_cell(const std::string& text);

/// The keys of a table as a Markdown table, or a line that says there are none.
std::string markdown_keys(const TableSpec& table);

/// Assigns a value to the struct that the table is bound to.
/// Throws Error::kUsage: an unknown key, with the nearest known one; a value that does not fit,
/// with what is expected. owner: the object with these options, for messages.
void set_option(const std::string& owner, const TableSpec& table, void* options,
                const std::string& key, const Value& value);

}  // namespace dissent
