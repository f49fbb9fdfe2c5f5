#pragma once
#include "config/document.hpp"
#include "config/errors.hpp"
#include "config/schema.hpp"

namespace dissent::config {

/// Fills the structs of the schema from the document. Keys that are not written keep their values;
/// optional tables become present or not, lists start empty. Every unknown key or table, wrong
/// type, value out of range or not among the choices is added to `errors`, with place, expected,
/// found and the nearest known name. Integers are accepted where numbers are expected, not the
/// reverse.
///   ConfigErrors errors(document);
///   read(document, schema, errors);
///   if (options.active > options.members) errors.add("ensemble.active", "...");
///   errors.raise();
void read(const Document& document, const Schema& schema, ConfigErrors& errors);

/// The same, and raises the errors.
void read(const Document& document, const Schema& schema);

}  // namespace dissent::config
