#pragma once
#include <string>

#include "core/options.hpp"

namespace dissent {

/// Text in a Markdown table: a bar would end its cell, an angle bracket begin a tag.
std::string markdown_cell(const std::string& text);

/// The keys of a table as a Markdown table, or one line that says that there are none.
std::string markdown_keys(const TableSpec& table);

/// Puts a value into the struct that the table is bound to. Throws Error::kUsage: an unknown key,
/// with the nearest known one; a value that does not fit, with what is expected. owner: who has
/// these options, for messages.
void set_option(const std::string& owner, const TableSpec& table, void* options,
                const std::string& key, const Value& value);

}  // namespace dissent
