// Operators made from the table of losses, so that a new loss needs no line in the Python package.
#include "core/prelude.hpp"

#include "loss_operators.hpp"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <map>

#include "losses/registry.hpp"
#include "operator_support.hpp"

namespace dissent::python {
namespace {

using losses::Field;
using losses::LossInfo;
using losses::LossInput;

// How Python passes a field of LossInput.
struct FieldArgument {
  Field field;
  const char* name;
  const char* kind;
  const char* meaning;
};

const std::vector<FieldArgument>& field_arguments() {
  static const std::vector<FieldArgument> all = {
      {Field::kLogits, "logits", "tensor", "[M, B, C]"},
      {Field::kLabels, "labels", "tensor", "[B] of int64"},
      {Field::kDrawnMember, "drawn_member", "integer", "index of a member"},
      {Field::kFeatureMaps, "feature_maps", "member_tensors",
       "[B, K, H, W] of each member, in the graph of the logits"},
      {Field::kLogitNoise, "logit_noise", "tensor", "[M, B, C], standard normal numbers"},
      {Field::kImages, "images", "member_tensors",
       "[B, ...] of each member, requiring gradients, in the graph of the logits"},
      {Field::kFeatures, "features", "tensor", "[M, B, D]"},
      {Field::kDiscriminator, "discriminator", "tensors",
       "parameters: label embedding, then weight and bias of each layer"},
      {Field::kUnlabelledLogits, "unlabelled_logits", "tensor",
       "[M, B, C] on outliers or unlabelled samples"},
      {Field::kAdversarialLogits, "adversarial_logits", "tensor",
       "[M, B, C] on the inputs of adversarial_inputs"}};
  return all;
}

struct Argument {
  FieldArgument of;
  std::string name;
  bool optional;  // needed at some options of the loss only
};

struct LossOperator {
  const LossInfo* loss;
  std::string name;
  std::vector<Argument> arguments;  // required ones first
};

bool contains(const std::vector<Field>& fields, Field field) {
  return std::find(fields.begin(), fields.end(), field) != fields.end();
}

// What the loss needs at its defaults, and at every other value of an option with named choices.
std::vector<std::vector<Field>> needs_of_all_choices(const LossInfo& loss) {
  std::vector<std::vector<Field>> all = {loss.traits.needs};
  for (const auto& option : loss.options.options)
    for (const auto& choice : option.info.choices) {
      auto options = loss.default_options;
      losses::set_option(loss, options, option.key, choice);
      all.push_back(losses::traits_of(loss, options).needs);
    }
  return all;
}

const FieldArgument& argument_of(Field field) {
  const auto& all = field_arguments();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const auto& argument) { return argument.field == field; });
  DISSENT_CHECK(found != all.end(), kInternal, "field '{}': expected an argument of operators",
                losses::field_name(field));
  return *found;
}

// Fields that every choice of options needs are required, in the order in which the loss names
// them; the others follow as optional arguments.
std::vector<Argument> arguments_of(const LossInfo& loss) {
  const auto all_needs = needs_of_all_choices(loss);
  std::vector<Field> fields;
  for (const auto& needs : all_needs)
    for (const auto field : needs)
      if (!contains(fields, field)) fields.push_back(field);

  std::vector<Argument> arguments;
  for (const auto field : fields) {
    const bool always = std::all_of(all_needs.begin(), all_needs.end(),
                                    [&](const auto& needs) { return contains(needs, field); });
    const auto& of = argument_of(field);
    arguments.push_back({of, of.name, !always});
  }
  std::stable_partition(arguments.begin(), arguments.end(),
                        [](const auto& argument) { return !argument.optional; });

  // A loss that reads one batch of logits calls it `logits`, whichever batch it is.
  const auto is_logits = [](const Argument& argument) { return argument.name.ends_with("logits"); };
  if (std::count_if(arguments.begin(), arguments.end(), is_logits) == 1)
    std::find_if(arguments.begin(), arguments.end(), is_logits)->name = "logits";
  return arguments;
}

// Types of the schema language of torch.

std::string schema_type(const Argument& argument) {
  const std::string kind = argument.of.kind;
  const std::string type = kind == "tensor" ? "Tensor" : kind == "integer" ? "int" : "Tensor[]";
  return argument.optional ? type + "?" : type;
}

std::string schema_type(const LossInfo& loss, const OptionSpec& option) {
  static const std::map<std::string, std::string> types = {
      {"integer", "int"},           {"number", "float"},           {"string", "str"},
      {"boolean", "bool"},          {"list of integers", "int[]"}, {"list of numbers", "float[]"},
      {"list of strings", "str[]"},
  };
  const auto found = types.find(option.type);
  DISSENT_CHECK(found != types.end(), kInternal,
                "{}: {}: expected an option of a type that operators have, found {}", loss.name,
                option.key, option.type);
  return found->second;
}

std::string schema_default(const OptionSpec& option) {
  if (option.type == "boolean") return option.default_text == "true" ? "True" : "False";
  return option.default_text;
}

bool is_member_tensors(const Argument& argument) {
  return std::string(argument.of.kind) == "member_tensors";
}

std::string schema_of(const LossOperator& made) {
  std::vector<std::string> parts;
  for (const auto& argument : made.arguments)
    parts.push_back(schema_type(argument) + " " + argument.name +
                    (argument.optional ? "=None" : ""));
  for (const auto& option : made.loss->options.options)
    parts.push_back(fmt::format("{} {}={}", schema_type(*made.loss, option), option.key,
                                schema_default(option)));
  for (const auto& argument : made.arguments)
    if (is_member_tensors(argument)) parts.push_back("bool " + argument.name + "_stacked=False");
  return fmt::format("{}({}) -> Tensor", made.name, fmt::join(parts, ", "));
}

// A call: arguments come as IValues in the order of the schema.

void set_field(LossInput& input, Field field, const c10::IValue& value, bool stacked) {
  switch (field) {
    case Field::kLogits: input.logits = value.toTensor(); return;
    case Field::kLabels: input.labels = value.toTensor(); return;
    case Field::kDrawnMember: input.drawn_member = value.toInt(); return;
    case Field::kFeatureMaps:
      input.feature_maps = member_inputs(value.toTensorVector(), stacked);
      return;
    case Field::kLogitNoise: input.logit_noise = value.toTensor(); return;
    case Field::kImages: input.images = member_inputs(value.toTensorVector(), stacked); return;
    case Field::kFeatures: input.features = value.toTensor(); return;
    case Field::kDiscriminator: input.discriminator = value.toTensorVector(); return;
    case Field::kUnlabelledLogits: input.unlabelled_logits = value.toTensor(); return;
    case Field::kAdversarialLogits: input.adversarial_logits = value.toTensor(); return;
    case Field::kSaliencyMaps:
    case Field::kInputGradients: break;
  }
  DISSENT_FAIL(kInternal, "field '{}': expected an input of a loss", losses::field_name(field));
}

Value option_value(const c10::IValue& value) {
  if (value.isBool()) return value.toBool();
  if (value.isInt()) return value.toInt();
  if (value.isDouble()) return value.toDouble();
  if (value.isIntList()) return value.toIntVector();
  if (value.isDoubleList()) return value.toDoubleVector();
  if (value.isString()) return value.toStringRef();
  std::vector<std::string> texts;
  for (const auto& element : value.toListRef()) texts.push_back(element.toStringRef());
  return texts;
}

std::map<std::string, LossOperator>& made_operators() {
  static std::map<std::string, LossOperator> by_name;
  return by_name;
}

at::Tensor evaluate_operator(const LossOperator& made, c10::ArrayRef<c10::IValue> values) {
  const auto& options = made.loss->options.options;
  const size_t first_option = made.arguments.size();

  // The values of the fields come first; `stacked` is at the booleans of member_tensors, the last
  // values of all.
  size_t stacked = first_option + options.size();
  LossInput input;
  for (size_t i = 0; i < first_option; ++i) {
    const auto& argument = made.arguments[i];
    const bool one_tensor = is_member_tensors(argument) && values[stacked++].toBool();
    if (!values[i].isNone()) set_field(input, argument.of.field, values[i], one_tensor);
  }

  // Every option is set, defaults too, so each value is checked as one from a configuration.
  auto given = made.loss->default_options;
  for (size_t i = 0; i < options.size(); ++i)
    losses::set_option(*made.loss, given, options[i].key, option_value(values[first_option + i]));
  return losses::evaluate(made.loss->name, input, given);
}

// The one kernel of all these operators: its schema says which of them was called.
void loss_kernel(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const auto& made = made_operators().at(handle.schema().name());
  const size_t count = handle.schema().arguments().size();
  const auto value = run([&] { return evaluate_operator(made, torch::jit::last(*stack, count)); });
  torch::jit::drop(*stack, count);
  torch::jit::push(*stack, value);
}

// The description as JSON.

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

std::string joined(const std::vector<std::string>& values) {
  return fmt::format("[{}]", fmt::join(values, ", "));
}

std::string described(const LossOperator& made) {
  const auto& loss = *made.loss;
  std::vector<std::string> arguments, options;

  for (const auto& argument : made.arguments)
    arguments.push_back(fmt::format(R"({{"name": {}, "kind": {}, "meaning": {}, "optional": {}}})",
                                    quoted(argument.name), quoted(argument.of.kind),
                                    quoted(argument.of.meaning), argument.optional));

  // The default of an option is TOML, which is JSON for all types that operators have.
  for (const auto& option : loss.options.options) {
    std::vector<std::string> choices;
    for (const auto& choice : option.info.choices) choices.push_back(quoted(choice));
    options.push_back(
        fmt::format(R"({{"name": {}, "type": {}, "default": {}, "meaning": {}, "choices": {}}})",
                    quoted(option.key), quoted(option.type), option.default_text,
                    quoted(option.info.meaning), joined(choices)));
  }

  return fmt::format(
      R"({{"name": {}, "operator": {}, "summary": {}, "formula": {}, "citation": {}, "note": {}, )"
      R"("arguments": {}, "options": {}}})",
      quoted(loss.name), quoted(made.name), quoted(loss.summary), quoted(loss.formula),
      quoted(loss.citation), quoted(loss.traits_note), joined(arguments), joined(options));
}

}  // namespace

void define_loss_operators(torch::Library& library) {
  for (const auto& loss : losses::loss_table()) {
    // A function written by hand, with other arguments, keeps the name of its loss.
    const bool taken =
        c10::Dispatcher::singleton().findSchema({"dissent::" + loss.name, ""}).has_value();

    LossOperator made{&loss, taken ? loss.name + "_loss" : loss.name, arguments_of(loss)};
    library.def(schema_of(made).c_str(), torch::CppFunction::makeFromBoxedFunction<&loss_kernel>());
    const auto key = "dissent::" + made.name;
    made_operators().emplace(key, std::move(made));
  }
}

std::string describe_losses() {
  std::vector<std::string> all;
  for (const auto& loss : losses::loss_table())  // in the order of the documentation
    for (const auto& [key, made] : made_operators())
      if (made.loss == &loss) all.push_back(described(made));
  return joined(all);
}

}  // namespace dissent::python
