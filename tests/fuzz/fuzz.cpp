#include "fuzz.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dissent/error.hpp>
#include <exception>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>

namespace dissent::fuzz {
namespace {

std::vector<Target>& table() {
  static std::vector<Target> targets;
  return targets;
}

std::map<std::string, std::vector<std::string> (*)()>& seed_table() {
  static std::map<std::string, std::vector<std::string> (*)()> seeds;
  return seeds;
}

// Of the process that made it: children that a test forks share it, one after the other.
struct Folder {
  std::string path;
  pid_t owner = ::getpid();
  Folder() {
    const char* given = std::getenv("TMPDIR");
    std::string base = given ? given : ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    path = base + "/dissent_fuzz_XXXXXX";
    if (!::mkdtemp(path.data())) {
      std::perror(path.c_str());
      std::exit(2);
    }
  }
  ~Folder() {
    std::error_code ignored;
    if (::getpid() == owner) std::filesystem::remove_all(path, ignored);
  }
};

volatile size_t g_sink = 0;

}  // namespace

Registration::Registration(Target target) {
  auto& all = table();
  all.insert(std::upper_bound(all.begin(), all.end(), target,
                              [](const Target& a, const Target& b) {
                                return std::string_view(a.name) < b.name;
                              }),
             std::move(target));
}

SeedRegistration::SeedRegistration(const char* name, std::vector<std::string> (*seeds)()) {
  seed_table()[name] = seeds;
}

const std::vector<Target>& targets() {
  for (auto& target : table())
    if (const auto seeds = seed_table().find(target.name); seeds != seed_table().end())
      target.seeds = seeds->second;
  return table();
}

const Target* find_target(const std::string& name) {
  for (const auto& target : targets())
    if (name == target.name) return &target;
  return nullptr;
}

void run_target(const Target& target, const std::string& input) {
  try {
    target.run(input);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kData || error.kind() == ErrorKind::kUsage) return;
    std::fprintf(stderr, "fuzz %s: an error of exit code %d: %s (%s)\n", target.name,
                 exit_code(error.kind()), error.what(), error.where().c_str());
    std::abort();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz %s: %s: %.2000s\n", target.name, typeid(error).name(), error.what());
    std::abort();
  }
}

const std::string& folder() {
  static const Folder made;
  return made.path;
}

std::string file_of(const std::string& input, const std::string& name) {
  const auto path = folder() + "/" + name;
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  size_t done = 0;
  while (file >= 0 && done < input.size()) {
    const auto count = ::write(file, input.data() + done, input.size() - done);
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  if (file < 0 || done < input.size() || ::close(file) != 0) {
    std::perror(path.c_str());
    std::_Exit(2);
  }
  return path;
}

void use(const std::string& text) { g_sink = g_sink + text.size(); }

}  // namespace dissent::fuzz
