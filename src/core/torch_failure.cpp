#include "core/torch_failure.hpp"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace dissent {
namespace {

// The text between two others: "2.00 GiB" in "Tried to allocate 2.00 GiB. GPU 0 has".
std::optional<std::string> between(const std::string& text, std::string_view before,
                                   std::string_view after) {
  const auto found = text.find(before);
  if (found == std::string::npos) return {};
  const auto start = found + before.size(), end = text.find(after, start);
  if (end == std::string::npos) return {};
  return text.substr(start, end - start);
}

bool holds(const std::string& text, std::initializer_list<std::string_view> words) {
  for (const auto word : words)
    if (text.find(word) != std::string::npos) return true;
  return false;
}

// "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.14 GiB of
// which 5.94 GiB is free. ..."
std::string device_memory_message(const std::string& text) {
  // A version of LibTorch with other words leaves parts empty; the message is then more general.
  const auto asked = between(text, "Tried to allocate ", ". "),
             device = between(text, "GPU ", " has a total capacity of "),
             total = between(text, "total capacity of ", " of which "),
             left = between(text, " of which ", " is free");

  return fmt::format(
      "memory of GPU {}: expected {}, found {} free{}; smaller batches (data.batch_size, "
      "evaluate.batch_rows, trunk.batch_size) and fewer members per rank (more ranks) need less; "
      "`dissent plan` estimates what a training needs (LibTorch: {})",
      device.value_or("of this rank"), asked ? *asked + " more" : "enough",
      left.value_or("an unknown amount"), total ? " of " + *total : "", first_line(text));
}

Failure of_torch(const c10::Error& error) {
  const std::string text = error.what_without_backtrace(), line = first_line(text);
  // "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000 bytes. Error code 12"
  if (const auto asked = between(text, "you tried to allocate ", " bytes"))
    return {ErrorKind::kMemory,
            host_memory_message(std::strtoull(asked->c_str(), nullptr, 10), "LibTorch: " + line)};

  // Sizes whose product overflows 64 bits.
  if (holds(line, {"Storage size calculation overflowed", "numel: integer multiplication overflow",
                   "cannot be represented as a SymInt"}))
    return {ErrorKind::kMemory, host_memory_message(~uint64_t{0}, "LibTorch: " + line)};

  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
      holds(line, {"CUDA error: out of memory", "CUDA out of memory", "_STATUS_ALLOC_FAILED"}))
    return {ErrorKind::kMemory, device_memory_message(text)};

  if (holds(line, {"CUDA error", "cuDNN error", "CUBLAS_STATUS", "CUSOLVER_STATUS", "NCCL"}))
    return {ErrorKind::kComm,
            fmt::format("GPU operation failed: {}; `dissent doctor` checks the device", line)};
  return {ErrorKind::kInternal, defect_message("a call of LibTorch failed: " + line)};
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const c10::Error& error) {
    return of_torch(error);
  } catch (...) {
    return current_light_failure();
  }
}

std::string current_reason() {
  try {
    throw;
  } catch (const c10::Error& error) {
    // Sentences after the first are advice for Python users.
    const auto line = first_line(error.what_without_backtrace());
    return "LibTorch: " + line.substr(0, line.find(". "));
  } catch (const std::exception& error) {
    return first_line(error.what());
  } catch (...) {
    return "an exception of an unknown type";
  }
}

}  // namespace dissent
