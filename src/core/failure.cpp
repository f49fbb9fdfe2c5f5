#include "core/failure.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "core/cgroup.hpp"
#include "core/sanitizer.hpp"

namespace dissent {
namespace {

// Size of the last failed allocation in this thread.
thread_local uint64_t t_asked_bytes = 0;

Failure (*g_current_failure)() = nullptr;

constexpr const char* kNeedsLess =
    "smaller batches (data.batch_size, evaluate.batch_rows, trunk.batch_size), fewer members per "
    "rank (more ranks) and data.residency = \"stream\" need less; `dissent plan` estimates what a "
    "training needs";

std::string bytes_text(uint64_t bytes) {
  if (bytes < 10'000) return fmt::format("{} bytes", bytes);

  const char* units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1e3;
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) value /= 1e3, ++unit;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

// A field in KiB of a file of /proc, in bytes.
std::optional<uint64_t> proc_field(const char* path, const std::string& field) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field))
      return std::strtoull(line.c_str() + field.size(), nullptr, 10) * 1024;
  return {};
}

// "12.3 GB free (limit of the address space, ulimit -v: 20.0 GB)": the tightest limit of this
// process.
std::string free_text() {
  std::optional<uint64_t> least = proc_field("/proc/meminfo", "MemAvailable:");
  std::string why;

  // A batch job is usually limited by its control group, well below the memory of the node.
  if (const auto limit = memory_limit()) {
    const auto left = static_cast<uint64_t>(std::max<int64_t>(0, limit->left_bytes));
    if (!least || left < *least) {
      least = left;
      why = fmt::format(" (limit of {}: {})", limit->place,
                        bytes_text(static_cast<uint64_t>(limit->limit_bytes)));
    }
  }

  // A limit set with ulimit -v.
  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    const uint64_t used = proc_field("/proc/self/status", "VmSize:").value_or(0),
                   left = space.rlim_cur > used ? space.rlim_cur - used : 0;
    if (!least || left < *least) {
      least = left;
      why = fmt::format(" (limit of the address space, ulimit -v: {})", bytes_text(space.rlim_cur));
    }
  }

  return (least ? bytes_text(*least) : "an unknown amount") + " free" + why;
}

[[noreturn]] void end_uncaught() {
  Failure failure{ErrorKind::kInternal, defect_message("terminated without an exception")};
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (...) {
    failure = g_current_failure();
  }

  // No destructors: the state of the process is unknown.
  std::fputs(("dissent: " + failure.message + "\n").c_str(), stderr);
  std::fflush(stderr);
  std::_Exit(exit_code(failure.kind));
}

}  // namespace

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string host_memory_message(uint64_t asked, const std::string& cause) {
  return fmt::format("memory of the host: expected {}, found {}; {}{}",
                     asked > 0 ? bytes_text(asked) + " more" : "enough", free_text(), kNeedsLess,
                     cause.empty() ? "" : " (" + cause + ")");
}

std::string defect_message(const std::string& message, const std::string& place) {
  constexpr const char* kStart = "a defect of the program: ";
  if (message.find(kStart) != std::string::npos) return message;
  return fmt::format("{}{}{}; please report it with this text, the command and its configuration",
                     kStart, message, place.empty() ? "" : " (" + place + ")");
}

Failure current_light_failure() {
  const uint64_t asked = std::exchange(t_asked_bytes, 0);

  // Rethrowing the current exception is the only way to learn its type.
  try {
    throw;
  } catch (const Error& error) {
    return {error.kind(),
            error.kind() == ErrorKind::kInternal ? defect_message(error.what(), error.where())
                                                 : error.what(),
            error.agreed()};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::kMemory, host_memory_message(asked)};
  } catch (const std::filesystem::filesystem_error& error) {
    const auto path = error.path2().empty() ? error.path1() : error.path2();
    return {ErrorKind::kData,
            fmt::format("{}: expected a file or folder that can be used, found: {}", path.string(),
                        error.code().message())};
  } catch (const std::system_error& error) {
    // What std::thread throws if the system has no more threads.
    if (error.code() == std::errc::resource_unavailable_try_again)
      return {ErrorKind::kMemory,
              fmt::format("cannot create a thread: {} (limits: ulimit -u, "
                          "pids.max of the control group); reduce data.workers and runtime.threads",
                          error.code().message())};
    return {ErrorKind::kInternal, defect_message(first_line(error.what()))};
  } catch (const std::exception& error) {
    return {ErrorKind::kInternal, defect_message(first_line(error.what()))};
  } catch (...) {
    return {ErrorKind::kInternal, defect_message("an exception of an unknown type")};
  }
}

void report_uncaught(Failure (*current)()) {
  g_current_failure = current;
  std::set_terminate(end_uncaught);
}

namespace detail {
void note_failed_allocation(uint64_t bytes) { t_asked_bytes = bytes; }
}  // namespace detail

}  // namespace dissent

// As the standard library's, but records the size of a failed request. Sanitizers have their own.
#ifndef DISSENT_SANITIZED
void* operator new(std::size_t bytes) {
  while (true) {
    if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
    if (const auto handler = std::get_new_handler()) {
      handler();
      continue;
    }
    dissent::detail::note_failed_allocation(bytes);
    throw std::bad_alloc();
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif
