#include "config/document.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <dissent/error.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <variant>

#include "config/errors.hpp"
#include "config/parse.hpp"
#include "config/variables.hpp"
#include "core/edited_text.hpp"
#include "core/regular_file.hpp"

namespace dissent::config {
namespace {

namespace fs = std::filesystem;

/// One file of read_sources: its text, or why it cannot be read.
struct SourceFile {
  std::string name;
  std::string text;
  std::string problem;
};

const std::string kBundleHead = "dissent sources 1\n";

void put(std::string& out, const std::string& text) {
  out += fmt::format("{} {}\n", text.size(), text);
}

std::string get(const std::string& in, size_t& at) {
  // A field is "SIZE TEXT\n".
  size_t size = 0;
  const auto [end, problem] = std::from_chars(in.data() + at, in.data() + in.size(), size);
  const size_t begin = static_cast<size_t>(end - in.data()) + 1;
  DISSENT_CHECK(problem == std::errc() && begin <= in.size() && size < in.size() - begin, kInternal,
                "configuration sources: expected a field at byte {} of {}", at, in.size());

  at = begin + size + 1;
  return in.substr(begin, size);
}

std::vector<SourceFile> unpack(const std::string& sources) {
  DISSENT_CHECK(
      sources.starts_with(kBundleHead), kInternal,
      "configuration sources: expected a string of read_sources, found {} bytes of another kind",
      sources.size());

  // Name, text and problem of each file, as read_all has written them.
  std::vector<SourceFile> files;
  for (size_t at = kBundleHead.size(); at < sources.size();) {
    SourceFile file;
    for (auto* field : {&file.name, &file.text, &file.problem}) *field = get(sources, at);
    files.push_back(std::move(file));
  }
  return files;
}

std::string normal(const fs::path& path) { return path.lexically_normal().string(); }

std::string resolve(const std::string& including, const std::string& include) {
  return normal(fs::path(including).parent_path() / include);
}

SourceFile read_file(const std::string& name) {
  if (const auto other = other_than_a_file(name); !other.empty())
    return {name, "", "expected a file, found " + other};

  errno = 0;
  std::ifstream in(name, std::ios::binary);
  if (!in) return {name, "", errno ? std::strerror(errno) : "unknown reason"};
  try {
    return {name, edited_text(std::string(std::istreambuf_iterator<char>(in), {}), name), ""};
  } catch (const Error& error) {
    return {name, "", std::string(error.what()).substr(name.size() + 2)};  // without "name: "
  }
}

/// The strings in the key `include` (load_document reports elements of other types).
std::vector<std::string> includes_of(const SourceFile& file) {
  // Errors are reported by load_document, on every rank and with their places; here only names are
  // needed.
  ConfigErrors ignored;
  const Document document(file.name, parse_toml(file.text, file.name, ignored));

  std::vector<std::string> out;
  const Node* include = document.find(kIncludeKey);
  if (!include || !include->list()) return out;
  for (const auto& element : *include->list())
    if (const auto* name = std::get_if<std::string>(&element.data))
      out.push_back(resolve(file.name, *name));
  return out;
}

std::string read_all(SourceFile first) {
  std::vector<SourceFile> files = {std::move(first)};
  // Breadth first; a file that several others include is read once.
  for (size_t i = 0; i < files.size(); ++i) {
    for (const auto& name : includes_of(files[i])) {
      const bool known = std::any_of(files.begin(), files.end(),
                                     [&](const SourceFile& file) { return file.name == name; });
      if (!known) files.push_back(read_file(name));
    }
  }

  // The files travel as one text, because rank 0 reads them and broadcasts it; problems are kept
  // for load_document, which reports them on every rank.
  std::string out = kBundleHead;
  for (const auto& file : files)
    for (const auto* field : {&file.name, &file.text, &file.problem}) put(out, *field);
  return out;
}

/// Merges files along their includes; chain_ has the files being merged, to detect cycles.
class Merger {
 public:
  Merger(const std::vector<SourceFile>& files, ConfigErrors& errors)
      : files_(files), errors_(errors) {}

  Node file(const std::string& name) {
    const auto at = std::find_if(files_.begin(), files_.end(),
                                 [&](const SourceFile& file) { return file.name == name; });
    DISSENT_CHECK(at != files_.end(), kInternal,
                  "configuration sources: expected the file {}, found {} others", name,
                  files_.size());

    // A file that is included twice is parsed twice, but its syntax errors are reported once.
    ConfigErrors again;
    Node own = parse_toml(at->text, name, parsed_.insert(name).second ? errors_ : again);

    // Included files come first, so that the file itself overrides them.
    auto& table = std::get<Table>(own.data);
    Node merged{Table{}, Source{name}, {}};
    if (const auto include = table.find(kIncludeKey); include != table.end()) {
      const Node list = std::move(include->second);
      table.erase(include);
      chain_.push_back(name);
      add_includes(name, list, merged);
      chain_.pop_back();
    }
    merge(merged, std::move(own));
    return merged;
  }

 private:
  void add_includes(const std::string& name, const Node& list, Node& merged) {
    if (!list.list())
      return errors_.add(list.source, kIncludeKey,
                         fmt::format("expected a list of strings, found {}", list.text()));

    // Each file is merged over the previous ones: a later include wins.
    for (const auto& element : *list.list()) {
      const auto* path = std::get_if<std::string>(&element.data);
      if (path)
        add_include(resolve(name, *path), element.source, merged);
      else
        errors_.add(element.source, kIncludeKey,
                    fmt::format("expected a string, found {}", element.text()));
    }
  }

  void add_include(const std::string& name, const Source& source, Node& merged) {
    // Only a file of the current chain is a cycle: two files may include the same third one.
    if (std::find(chain_.begin(), chain_.end(), name) != chain_.end())
      return errors_.add(
          source, kIncludeKey,
          fmt::format("files include each other: {} -> {}", fmt::join(chain_, " -> "), name));

    // The error is placed at the include, which is what the user has to change.
    for (const auto& file : files_)
      if (file.name == name && !file.problem.empty())
        return errors_.add(source, kIncludeKey,
                           fmt::format("cannot read {}: {}", name, file.problem));
    merge(merged, file(name));
  }

  const std::vector<SourceFile>& files_;
  ConfigErrors& errors_;
  std::vector<std::string> chain_;
  std::set<std::string> parsed_;
};

}  // namespace

std::string read_sources(const std::string& path) { return read_all(read_file(normal(path))); }

std::string read_sources(const std::string& name, const std::string& text) {
  return read_all({normal(name), text, ""});
}

Document load_document(const std::string& sources, const std::vector<std::string>& overrides) {
  const std::vector<SourceFile> files = unpack(sources);
  DISSENT_CHECK(!files.empty(), kInternal, "configuration sources: expected a file, found none");

  // Errors of all stages are collected, so that the user sees all of them at once.
  ConfigErrors errors;
  if (!files[0].problem.empty())
    errors.add(Source{files[0].name}, "",
               fmt::format("cannot read the configuration: {}", files[0].problem));

  // Order matters: files, then overrides (which may set variables), then the variables in all
  // strings.
  Node root = Merger(files, errors).file(files[0].name);
  const auto of_files = variable_names(root);
  for (const auto& override_text : overrides) merge(root, parse_override(override_text, errors));
  auto variables = put_variables(root, of_files, errors);

  errors.raise();
  root.source = root.key_source = Source{files[0].name};
  return Document(files[0].name, std::move(root), std::move(variables));
}

const Node* Document::find(const std::string& key) const {
  // Follow the path step by step: ".key" into a table, "[i]" into a list.
  const Node* node = &root_;
  for (size_t at = 0; at < key.size();) {
    const size_t end = std::min(key.find_first_of(".[", at + 1), key.size());
    std::string step = key.substr(at, end - at);
    if (step[0] == '[') {
      size_t index = 0;
      const auto read = std::from_chars(step.data() + 1, step.data() + step.size(), index);
      if (read.ec != std::errc() || !node->list() || index >= node->list()->size()) return nullptr;
      node = &(*node->list())[index];
    } else {
      if (step[0] == '.') step.erase(0, 1);
      const Table* table = node->table();
      if (!table || !table->contains(step)) return nullptr;
      node = &table->at(step);
    }
    at = end;
  }
  return node;
}

Source Document::source_of(const std::string& key) const {
  // Shorten the path until a node exists.
  std::string path = key;
  while (!path.empty()) {
    if (const Node* node = find(path)) return node->source;
    const size_t end = path.find_last_of(".[");
    path.resize(end == std::string::npos ? 0 : end);
  }
  return root_.source;
}

}  // namespace dissent::config
