#include "config/errors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <dissent/error.hpp>
#include <tuple>

#include "config/document.hpp"

namespace dissent::config {

void ConfigErrors::add(const Source& source, const std::string& key, const std::string& message) {
  lines_.push_back({source, key, message});
}

void ConfigErrors::add(const std::string& key, const std::string& message) {
  if (std::any_of(lines_.begin(), lines_.end(), [&](const Line& line) { return line.key == key; }))
    return;
  add(document_ ? document_->source_of(key) : Source{}, key, message);
}

void ConfigErrors::raise() const {
  if (lines_.empty()) return;

  // In the order of the files, as compilers report errors.
  std::vector<Line> sorted = lines_;
  const auto place = [](const Line& line) {
    return std::tie(line.source.file, line.source.line, line.source.column);
  };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Line& a, const Line& b) { return place(a) < place(b); });

  std::vector<std::string> texts;
  for (const auto& line : sorted) {
    std::string text = line.source.text();
    for (const auto& part : {line.key, line.message})
      if (!part.empty()) text += (text.empty() ? "" : ": ") + part;
    texts.push_back(text);
  }

  // Every rank loads the same text, so all of them have this error: it is agreed without a message.
  Error error(ErrorKind::kUsage, fmt::format("{}", fmt::join(texts, "\n")), __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

}  // namespace dissent::config
