// Fuzz targets: each reads arbitrary bytes with one parser of the program. A dissent::Error of kind
// data or usage is what bad input is owed; any other exception, a crash, a sanitizer's report, more
// than 10 s and more than 2 GiB are findings. One source a parser, with DISSENT_FUZZ; run by
// libFuzzer (libfuzzer.cpp, scripts/fuzz) or by replay.cpp (the test `fuzz`, any compiler).
#pragma once
#include <string>
#include <vector>

namespace dissent::fuzz {

enum class Kind {
  kOwn,   ///< parsed by this project's sources and libraries that are made for bad input
  kHdf5,  ///< goes through HDF5, which crashes or loops on some damaged files
};

struct Target {
  const char* name;
  void (*run)(const std::string& input);
  Kind kind;
  /// Words of the format, for mutations.
  std::vector<std::string> words;
  /// Files as this version writes them, in addition to those of corpus/NAME; nullptr: none.
  std::vector<std::string> (*seeds)() = nullptr;
};

/// All targets, in the order of their names.
const std::vector<Target>& targets();
/// nullptr if there is none of this name.
const Target* find_target(const std::string& name);

/// Runs a target; an exception that is no such Error ends the process with abort() and a message.
void run_target(const Target& target, const std::string& input);

/// A folder of this process in memory (/dev/shm, else TMPDIR), deleted at exit; for parsers that
/// take paths.
const std::string& folder();
/// Writes the bytes to folder()/name, in place of what was there, and gives the path.
std::string file_of(const std::string& input, const std::string& name);

/// What is written here is not optimised away.
void use(const std::string& text);

struct Registration {
  explicit Registration(Target target);
};
struct SeedRegistration {
  SeedRegistration(const char* name, std::vector<std::string> (*seeds)());
};

}  // namespace dissent::fuzz

/// DISSENT_FUZZ(npy, kOwn, "word", ...) { ... input ... }
#define DISSENT_FUZZ(name, kind, ...)                                    \
  static void fuzz_##name(const std::string& input);                     \
  static const ::dissent::fuzz::Registration registration_##name(        \
      {#name, fuzz_##name, ::dissent::fuzz::Kind::kind, {__VA_ARGS__}}); \
  static void fuzz_##name(const std::string& input)

/// DISSENT_FUZZ_SEEDS(checkpoint) { return {bytes, ...}; }
#define DISSENT_FUZZ_SEEDS(name)                                                                \
  static std::vector<std::string> seeds_##name();                                               \
  static const ::dissent::fuzz::SeedRegistration seed_registration_##name(#name, seeds_##name); \
  static std::vector<std::string> seeds_##name()
