// The targets without libFuzzer, for any compiler: replays the corpus and seeds of each parser,
// then mutates them from a fixed seed until its share of the time is over. Each parser runs in a
// child process, so a crash is one parser's, and the input that it came from is kept.
//   replay --corpus FOLDER [--parser NAME]... [--seconds S] [--seed N] [--findings FOLDER]
//          [--mutate-hdf5] [INPUT...]
// INPUTs are run alone, each as it is. Exit code 1: findings.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "core/parallel.hpp"
#include "core/sanitizer.hpp"
#include "fuzz.hpp"

namespace {

using namespace dissent::fuzz;
namespace fs = std::filesystem;

constexpr size_t kMostBytes = 1 << 16;  // of a mutated input
constexpr size_t kMostShown = 4 << 20;  // of any input
constexpr int kMostCpuS = 10;           // of a run
constexpr double kMostWallS = 60;       // of a run that waits: for a pipe, a device
constexpr rlim_t kMostMemory = rlim_t{2} << 30;

struct Options {
  std::string corpus, findings = "fuzz_findings";
  std::vector<std::string> parsers, inputs;
  double seconds = 0;
  uint64_t seed = 1;
  bool mutate_hdf5 = false;
};

// What the child is at, seen by the parent when the child is dead.
struct Shared {
  std::atomic<uint64_t> runs;
  std::atomic<uint64_t> size;
  char bytes[kMostShown];
};

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "%s: cannot open\n", path.c_str());
    std::exit(2);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class Mutator {
 public:
  Mutator(const Target& target, const std::vector<std::string>& corpus, uint64_t seed)
      : words_(target.words), corpus_(corpus) {
    for (const char* c = target.name; *c; ++c)
      seed = seed * 1099511628211u + static_cast<unsigned char>(*c);
    random_.seed(seed);
  }

  std::string next() {
    auto input = corpus_.empty() ? std::string() : corpus_[below(corpus_.size())];
    for (auto steps = 1 + below(below(4) == 0 ? 16 : 4); steps > 0; --steps) mutate(input);
    if (input.size() > kMostBytes) input.resize(kMostBytes);
    return input;
  }

 private:
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }

  void mutate(std::string& input) {
    const auto at = below(input.size() + 1);
    const auto length = std::min(below(below(2) == 0 ? 8 : 256) + 1, input.size() - at);
    switch (below(10)) {
      case 0:
        if (!input.empty()) input[below(input.size())] ^= static_cast<char>(1 << below(8));
        return;
      case 1:
        if (!input.empty()) input[below(input.size())] = static_cast<char>(random_());
        return;
      case 2: input.erase(at, length); return;
      case 3: input.insert(at, input.substr(below(input.size() + 1), length)); return;
      case 4: input.resize(at); return;
      case 5: number(input, at); return;
      case 6:
        if (!words_.empty()) input.insert(at, words_[below(words_.size())]);
        return;
      case 7: {
        if (words_.empty()) return;
        const auto& word = words_[below(words_.size())];
        input.replace(at, word.size(), word);
        return;
      }
      case 8: {  // the end of another one
        if (corpus_.empty()) return;
        const auto& other = corpus_[below(corpus_.size())];
        input.resize(at);
        input += other.substr(std::min(at, other.size()));
        return;
      }
      default:
        input.insert(at, below(20) == 0 ? 4096 : below(16) + 1,
                     input.empty() || at == input.size() ? ' ' : input[at]);
    }
  }

  // Numbers at which sizes go wrong, as bytes of either order or as digits.
  void number(std::string& input, size_t at) {
    static const uint64_t kNumbers[] = {0,          1,          0x7f,       0x80,
                                        0xff,       0x7fff,     0xffff,     0x10000,
                                        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                        1ull << 40, INT64_MAX,  1ull << 63, UINT64_MAX};
    const auto value =
        kNumbers[below(std::size(kNumbers))] + (below(4) == 0 ? random_() % 3 - 1 : 0);
    if (below(3) == 0) {
      const auto digits =
          below(3) == 0 ? std::to_string(static_cast<int64_t>(value)) : std::to_string(value);
      auto end = at;
      while (end < input.size() && input[end] >= '0' && input[end] <= '9') ++end;
      input.replace(at, end - at, digits);
      return;
    }
    const size_t bytes = size_t{1} << below(4);
    const bool big = below(2) == 0;
    for (size_t i = 0; i < bytes && at + i < input.size(); ++i)
      input[at + i] = static_cast<char>(value >> (8 * (big ? bytes - 1 - i : i)));
  }

  const std::vector<std::string>& words_;
  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_;
};

void limit_memory() {
#ifndef DISSENT_SANITIZED  // which claims terabytes
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const auto most = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kMostMemory;
  const rlimit limit{most, most};
  setrlimit(RLIMIT_AS, &limit);
#endif
}

void run_shown(const Target& target, const std::string& input, Shared& shared) {
  shared.size = input.size();
  std::memcpy(shared.bytes, input.data(), std::min(input.size(), kMostShown));
  const itimerval limit{{0, 0}, {kMostCpuS, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);  // SIGPROF ends the process
  run_target(target, input);
  shared.runs.fetch_add(1);
}

[[noreturn]] void child(const Target& target, const Options& options, double seconds,
                        Shared& shared) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  dissent::set_threads(1);
  const double begin = now_s();
  std::vector<std::string> corpus;
  for (const auto& path : options.inputs) corpus.push_back(bytes_of(path));
  if (options.inputs.empty()) {
    std::vector<fs::path> files;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(options.corpus + "/" + target.name, ignored))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const auto& path : files) corpus.push_back(bytes_of(path));
    if (target.seeds)
      for (auto& seed : target.seeds()) corpus.push_back(std::move(seed));
    if (corpus.empty()) {
      std::fprintf(stderr, "fuzz %s: no corpus in %s and no seeds\n", target.name,
                   options.corpus.c_str());
      std::_Exit(2);
    }
  }
  limit_memory();
  for (const auto& input : corpus) run_shown(target, input, shared);
  const bool mutates = options.inputs.empty() && (target.kind == Kind::kOwn || options.mutate_hdf5);
  for (Mutator mutator(target, corpus, options.seed); mutates && now_s() - begin < seconds;)
    run_shown(target, mutator.next(), shared);
  std::fflush(nullptr);
  std::_Exit(0);
}

std::string what_of(int status) {
  if (WIFEXITED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  if (WTERMSIG(status) == SIGPROF) return "more than " + std::to_string(kMostCpuS) + " s";
  return std::string("signal ") + strsignal(WTERMSIG(status));
}

// 0: no finding.
int run_parser(const Target& target, const Options& options, double seconds, Shared& shared) {
  const double begin = now_s();
  shared.runs = shared.size = 0;
  std::fflush(nullptr);
  const pid_t process = ::fork();
  if (process == 0) child(target, options, seconds, shared);
  int status = 0;
  uint64_t runs = 0;
  double last = begin;
  bool waited = false;
  while (::waitpid(process, &status, WNOHANG) == 0) {
    ::usleep(20000);
    if (const uint64_t now = shared.runs; now != runs) runs = now, last = now_s();
    if (now_s() - last < kMostWallS) continue;
    waited = true;
    ::kill(process, SIGKILL);
    last = now_s();
  }
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  std::printf("%-16s %9llu runs %6.1f s\n", target.name,
              static_cast<unsigned long long>(shared.runs), now_s() - begin);
  if (status == 0) return 0;
  fs::create_directories(options.findings);
  const std::string input(shared.bytes, std::min<size_t>(shared.size, kMostShown));
  const auto path =
      options.findings + "/" + target.name + "-" + std::to_string(std::hash<std::string>()(input));
  std::ofstream(path, std::ios::binary) << input;
  std::printf("FINDING: %s: %s; its input of %zu bytes: %s\n", target.name,
              waited ? "it waits" : what_of(status).c_str(), input.size(), path.c_str());
  if (input.size() <= 2048) {
    std::printf("  ");
    for (const char c : input) std::printf("\\x%02x", static_cast<unsigned char>(c));
    std::printf("\n");
  }
  return 1;
}

Options parsed(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] {
      if (i + 1 < argc) return std::string(argv[++i]);
      std::fprintf(stderr, "expected a value after %s\n", option.c_str());
      std::exit(2);
    };
    if (option == "--corpus")
      options.corpus = value();
    else if (option == "--findings")
      options.findings = value();
    else if (option == "--parser")
      options.parsers.push_back(value());
    else if (option == "--seconds")
      options.seconds = std::stod(value());
    else if (option == "--seed")
      options.seed = std::stoull(value());
    else if (option == "--mutate-hdf5")
      options.mutate_hdf5 = true;
    else if (option.starts_with("--")) {
      std::fprintf(stderr, "an option that there is not: %s\n", option.c_str());
      std::exit(2);
    } else
      options.inputs.push_back(option);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parsed(argc, argv);
  std::vector<const Target*> chosen;
  for (const auto& name : options.parsers) {
    chosen.push_back(find_target(name));
    if (chosen.back()) continue;
    std::fprintf(stderr, "no parser %s\n", name.c_str());
    return 2;
  }
  if (chosen.empty())
    for (const auto& target : targets()) chosen.push_back(&target);
  const auto mutating = std::count_if(chosen.begin(), chosen.end(), [&](const Target* target) {
    return target->kind == Kind::kOwn || options.mutate_hdf5;
  });
  folder();  // made here, so that the end of a child leaves it
  auto* shared = static_cast<Shared*>(
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (shared == MAP_FAILED) {
    std::perror("mmap");
    return 2;
  }
  int findings = 0;
  for (const auto* target : chosen)
    findings += run_parser(
        *target, options,
        options.seconds / static_cast<double>(std::max<std::ptrdiff_t>(1, mutating)), *shared);
  std::printf("%zu parsers, %d findings\n", chosen.size(), findings);
  return findings > 0 ? 1 : 0;
}
