#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/node.hpp"

namespace dissent::config {

class Document;

/// The errors of a configuration, raised together. Add only what every rank finds alike: the error
/// is raised as one that all ranks agree on.
class ConfigErrors {
 public:
  ConfigErrors() = default;
  /// With the document, errors can be added by key. The document must outlive this.
  explicit ConfigErrors(const Document& document) : document_(&document) {}

  /// An error at a place; `key` may be empty (syntax errors).
  void add(const Source& source, const std::string& key, const std::string& message);

  /// An error of meaning, found by a module after reading ("ensemble.active", "expected at most
  /// ensemble.members (5), found 7"). The place is that of the key, or of its table where the key
  /// is not written. Left out if the key has an error already, which this one may follow from.
  void add(const std::string& key, const std::string& message);

  bool empty() const { return lines_.empty(); }

  /// Throws Error::kUsage, agreed, if there is any error: a line each, "run.toml:12:5:
  /// training.epochs: expected ...", by file, line and column.
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
