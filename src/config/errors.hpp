#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/node.hpp"

namespace dissent::config {

class Document;

/// Collects the errors of a configuration, to raise them together. Add only errors that every rank
/// finds: the error is raised as agreed by all ranks.
class ConfigErrors {
 public:
  ConfigErrors() = default;
  /// With the document, errors can be added by key. The document must outlive this.
  explicit ConfigErrors(const Document& document) : document_(&document) {}

  /// An error at a place; `key` may be empty (syntax errors).
  void add(const Source& source, const std::string& key, const std::string& message);

  /// A semantic error, found by a module after reading ("ensemble.active", "expected at most
  /// ensemble.members (5), found 7"). Its place is that of the key, or of its table if the key is
  /// not written. Ignored if the key already has an error, which may be the cause of this one.
  void add(const std::string& key, const std::string& message);

  bool empty() const { return lines_.empty(); }

  /// Throws Error::kUsage, agreed, if there is any error: one line per error, "run.toml:12:5:
  /// training.epochs: expected ...", sorted by file, line and column.
  void raise() const;

 private:
  struct Line {
    Source source;
    std::string key;
    std::string message;
  };
  const Document* document_ = nullptr;
  std::vector<Line> lines_;
};

}  // namespace dissent::config
