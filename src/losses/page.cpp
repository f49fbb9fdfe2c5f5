// The text of docs/losses.md.
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/option_page.hpp"
#include "losses/registry.hpp"

namespace dissent::losses {
namespace {

std::string joined(const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const auto field : fields) names.push_back(field_name(field));
  return names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", "));
}

std::string section(const LossInfo& loss) {
  std::string out =
      fmt::format("\n## `{}`\n\n{}.\n\n    {}\n\n", loss.name, loss.summary, loss.formula);
  out += fmt::format("- kind: {}; at least {} member{}\n", kind_name(loss.kind),
                     loss.traits.min_members, loss.traits.min_members == 1 ? "" : "s");
  out += fmt::format("- needs: {}; ranks with other members exchange: {}\n",
                     joined(loss.traits.needs), joined(loss.traits.exchanged));
  out += fmt::format("- over the batch: {}\n",
                     loss.traits.nonlinear_in_batch
                         ? "not a mean over samples; ranks that split the batch exchange it first"
                         : "a mean over samples");
  if (!loss.traits_note.empty()) out += fmt::format("- note: {}\n", loss.traits_note);
  return out + fmt::format("- source: {}\n\n", loss.citation) + markdown_keys(loss.options);
}

}  // namespace

std::string losses_page() {
  std::string out =
      "# Losses\n\n"
      "Written by `scripts/generate_docs` from the output of `dissent config losses`; do not edit. "
      "Each loss is a function of the library,\n"
      "`include/dissent/losses/<name>.hpp`, whose header describes shapes, dtypes, derivatives, "
      "edge cases and memory. A training\n"
      "uses the losses that have a table `[loss.<name>]` in its configuration "
      "([configuration.md](configuration.md)).\n\n"
      "z are logits, p = softmax(z), y labels, m, i, j members, b samples, c classes.\n\n"
      "| loss | kind | members | ranks exchange | over the batch |\n|---|---|---|---|---|\n";

  for (const auto& loss : loss_table())
    out += fmt::format("| [`{}`](#{}) | {} | >= {} | {} | {} |\n", loss.name, loss.name,
                       kind_name(loss.kind), loss.traits.min_members, joined(loss.traits.exchanged),
                       loss.traits.nonlinear_in_batch ? "coupled" : "mean");

  out += "\n## Keys of every loss\n\n" + markdown_keys(weight_table());
  for (const auto& loss : loss_table()) out += section(loss);
  return out;
}

}  // namespace dissent::losses
