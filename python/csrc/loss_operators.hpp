#pragma once
#include <torch/library.h>

#include <string>

namespace dissent::python {

/// Defines one operator per loss of the table (src/losses/registry.hpp): the scalar that the
/// program minimises, from the fields that the loss needs and its options. Its name is that of the
/// loss, or <name>_loss if the library has an operator of that name already, so call this last.
void define_loss_operators(torch::Library& library);

/// The operators that define_loss_operators made, as JSON: a list of
///   {"name", "operator", "summary", "formula", "citation", "note", "arguments": [{"name", "kind",
///       "meaning", "optional"}], "options": [{"name", "type", "default", "meaning", "choices"}]}
/// with kind one of tensor, integer, tensors, member_tensors. An operator takes the arguments that
/// are required, those that are optional, the options, and for each argument of kind member_tensors
/// a last boolean: whether its list is one stacked tensor.
std::string describe_losses();

}  // namespace dissent::python
