// The targets under libFuzzer: fuzz --parser=NAME [libFuzzer's options] [CORPUS...]. One program
// for all: LibTorch is linked once. --list prints the parsers; --parser=NAME --words prints a
// dictionary,
// --parser=NAME --seeds=FOLDER writes seeds; --cpu_s=S ends a run after so many processor seconds.
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "fuzz.hpp"

namespace {
const dissent::fuzz::Target* g_target = nullptr;
double g_most_cpu_s = 0;  // 0: no limit

// Of this process and of those that it waited for: dissent-h5check.
double cpu_s() {
  double seconds = 0;
  for (const int whose : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(whose, &usage);
    seconds += static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }
  return seconds;
}
}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using namespace dissent::fuzz;
  std::string what, seeds;
  for (int i = 1; i < *argc; ++i) {
    const std::string option = (*argv)[i];
    const auto value = option.substr(std::min(option.find('='), option.size() - 1) + 1);
    if (option.starts_with("--parser=")) g_target = find_target(value);
    if (option.starts_with("--cpu_s=")) g_most_cpu_s = std::atof(value.c_str());
    if (option == "--list" || option == "--words") what = option;
    if (option.starts_with("--seeds=")) seeds = value;
  }
  if (what == "--list") {
    for (const auto& target : targets()) std::puts(target.name);
    std::exit(0);
  }
  if (!g_target) {
    std::fprintf(stderr, "expected --parser=NAME, NAME one of those that --list prints\n");
    std::exit(2);
  }
  if (what == "--words") {  // a dictionary of libFuzzer
    for (const auto& word : g_target->words) {
      std::putchar('"');
      for (const char c : word) std::printf("\\x%02x", static_cast<unsigned char>(c));
      std::puts("\"");
    }
    std::exit(0);
  }
  if (!seeds.empty()) {
    int count = 0;
    for (const auto& seed : g_target->seeds ? g_target->seeds() : std::vector<std::string>{})
      std::ofstream(seeds + "/written_" + std::to_string(count++), std::ios::binary) << seed;
    std::exit(0);
  }
  folder();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dissent::fuzz::run_target(*g_target, std::string(reinterpret_cast<const char*>(data), size));
  static int64_t runs = 0;
  // libFuzzer takes an interrupt for the end of its work, and prints its figures.
  if (g_most_cpu_s > 0 && ++runs % 256 == 0 && cpu_s() > g_most_cpu_s) std::raise(SIGINT);
  return 0;
}
