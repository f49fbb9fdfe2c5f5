#pragma once
#include <string>
#include <vector>

#include "config/node.hpp"

namespace dissent::config {

/// A configuration as written: files merged, overrides on top, every value with its place; not yet
/// checked against a schema.
class Document {
 public:
  Document(std::string name, Node root, std::vector<std::string> variables = {})
      : name_(std::move(name)), root_(std::move(root)), variables_(std::move(variables)) {}

  /// The file that was asked for.
  const std::string& name() const { return name_; }
  const Node& root() const { return root_; }
  /// Names in [variables], sorted.
  const std::vector<std::string>& variables() const { return variables_; }
  /// The node at a path, "loss.a2d.weight" or "evaluate.sets[1].name"; nullptr if it is not
  /// written.
  const Node* find(const std::string& key) const;
  /// Where the key is written; if it is not, where its nearest written table is; else the file.
  Source source_of(const std::string& key) const;

 private:
  std::string name_;
  Node root_;
  std::vector<std::string> variables_;
};

/// Reads a file and all that it includes (`include = ["base.toml"]`, relative to the including
/// file) into one string. Rank 0 calls it and broadcasts the result. Never throws for what the
/// files are or hold: an unreadable file is noted in the string, so that every rank raises the same
/// error in load_document.
std::string read_sources(const std::string& path);

/// The same for a text at hand (a checkpoint's configuration, a test); `name` stands for the file
/// in messages and for the folder of includes.
std::string read_sources(const std::string& name, const std::string& text);

/// Builds the document from read_sources' string and the values of `--set` ("table.key=value"), in
/// order; not collective, same on all ranks. The including file wins over what it includes, a later
/// include over an earlier one, an override over all; tables merge, arrays replace.
/// Then the variables: table [variables] holds texts and numbers, and `${name}` in any text, also
/// in another variable's, stands for one of them. An include or `--set variables.name=value`
/// changes all paths that are made of it; the table itself is no part of the document. A dollar
/// sign before anything but a brace is a dollar sign. Throws Error::kUsage with a line for each
/// syntax error, missing include, include cycle (naming the chain), bad override, and unknown
/// variable (with its place and the nearest name).
Document load_document(const std::string& sources, const std::vector<std::string>& overrides = {});

}  // namespace dissent::config
