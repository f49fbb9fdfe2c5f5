#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/node.hpp"

namespace dissent::config {

/// The key of a file's includes.
inline constexpr const char* kIncludeKey = "include";

/// A configuration as written: files merged, overrides applied, every value with its place; not yet
/// checked against a schema.
class Document {
 public:
  Document(std::string name, Node root, std::vector<std::string> variables = {})
      : name_(std::move(name)), root_(std::move(root)), variables_(std::move(variables)) {}

  /// The file that was loaded.
  const std::string& name() const { return name_; }
  const Node& root() const { return root_; }
  /// Names in [variables], sorted.
  const std::vector<std::string>& variables() const { return variables_; }
  /// The node at a path, "loss.a2d.weight" or "evaluate.sets[1].name"; nullptr if it does not
  /// exist.
  const Node* find(const std::string& key) const;
  /// Place of the key; if it is not written, place of its nearest written parent; else the file.
  Source source_of(const std::string& key) const;

 private:
  std::string name_;
  Node root_;
  std::vector<std::string> variables_;
};

/// Reads a file and all its includes (`include = ["base.toml"]`, relative to the including file)
/// into one string. Rank 0 calls it and broadcasts the result. Never throws because of the files:
/// an unreadable file is recorded in the string, so that every rank raises the same error in
/// load_document.
std::string read_sources(const std::string& path);

/// The same for a text in memory (a checkpoint's configuration, a test); `name` is the file name
/// for messages and for the folder of includes.
std::string read_sources(const std::string& name, const std::string& text);

/// Builds the document from read_sources' string and the values of `--set` ("table.key=value"), in
/// order; not collective, the same on all ranks. Precedence: overrides, then the including file,
/// then a later include, then an earlier one; tables merge, arrays are replaced.
/// Then variables are substituted: the table [variables] has strings and numbers, and `${name}` in
/// any string, also in another variable, is replaced by its value. An include or `--set
/// variables.name=value` changes all strings that use it; the table itself is not part of the
/// document. A dollar sign that is not followed by a brace is kept.
/// Throws Error::kUsage with one line per syntax error, missing include, include cycle (with the
/// chain), invalid override, and unknown variable (with its place and the nearest name).
Document load_document(const std::string& sources, const std::vector<std::string>& overrides = {});

}  // namespace dissent::config
