#pragma once
#include <string>

#include "config/schema.hpp"

namespace dissent::config {

enum class Format {
  kToml,      ///< a configuration to start from
  kMarkdown,  ///< docs/configuration.md
};

/// Every key of the schema with default, type, range or choices, meaning and scope (`result`:
/// changes results; `execution`: does not).
///   kToml
///       a valid configuration with all defaults and one comment per key; optional tables and
///       arrays of tables are commented out by "#: "
///   kMarkdown  one section per table: key | type | default | range | meaning | scope
std::string describe(const Schema& schema, Format format);

/// "result" or "execution".
const char* scope_name(Scope scope);

}  // namespace dissent::config
