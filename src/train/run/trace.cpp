#include "train/run/trace.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "comm/communicator.hpp"
#include "storage/atomic_file.hpp"
#include "storage/run_folder.hpp"

namespace dissent {
namespace {

constexpr const char* kTraceFormat = "dissent-trace";
constexpr int64_t kTraceVersion = 2;
constexpr int64_t kTraceObjectBytes = 4096;  // of a dataset, group or attribute without its values
constexpr int64_t kTraceStepObjects = 64;

int64_t bytes_of(const NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors)
    bytes += tensor.numel() * tensor.element_size() + kTraceObjectBytes;
  return bytes;
}

}  // namespace

TraceWriter::TraceWriter(const RunContext& context, const std::string& kind,
                         const std::vector<std::string>& losses, int64_t steps, int64_t step_bytes,
                         const NamedTensors& initial)
    : path_(context.folder + "/" + kTraceFile), temporary_(temporary_name(path_)), steps_(steps) {
  // Weights are written up to three times: initial, first, final. A full disk is an error now and
  // not hours later.
  check_free_space(
      context.folder,
      3 * bytes_of(initial) + steps * (step_bytes + kTraceStepObjects * kTraceObjectBytes),
      fmt::format("the trace of {} steps", steps));

  file_ = h5_create(temporary_);
  h5_write_attribute(file_, "/", "format", std::string(kTraceFormat), temporary_);
  h5_write_attribute(file_, "/", "version", kTraceVersion, temporary_);
  h5_write_attribute(file_, "/", "kind", kind, temporary_);
  h5_write_attribute(file_, "/", "seed", static_cast<int64_t>(context.seed), temporary_);
  h5_write_attribute(file_, "/", "losses", fmt::format("{}", fmt::join(losses, " ")), temporary_);
  h5_write_text(file_, "config", context.config_text, temporary_);
  write("initial", initial);
}

TraceWriter::~TraceWriter() {
  if (!file_.valid()) return;
  // The training has failed: an incomplete trace is removed.
  try {
    file_.close(temporary_);
    remove_file(temporary_);
  } catch (...) {
  }
}

void TraceWriter::write(const std::string& group, const NamedTensors& tensors) {
  // One rank writes alone: nothing here is collective.
  auto self = make_self_communicator();
  for (const auto& [name, tensor] : tensors) {
    const auto values = tensor.detach().cpu().contiguous();
    const std::string full = group + "/" + name;
    h5_add_dataset(file_, full, values.sizes(), values.scalar_type(), temporary_);
    h5_write_rows(file_, full, 0, values, *self, temporary_);
  }
}

void TraceWriter::add(const TraceStep& step, const Weights& weights) {
  if (!wants_more()) return;
  write_step(fmt::format("steps/{:06}", entries_++), step);
  if (!step.ends) return;

  // The weights after one update tell whether a difference at the end comes from a single step or
  // from many.
  if (step.update && !first_written_) {
    write("first", weights());
    first_written_ = true;
  }

  ++done_;
  if (done_ == steps_) finish(weights);
}

// Tensors as datasets and numbers as attributes of the step's group (docs/formats.md, "Traces").
void TraceWriter::write_step(const std::string& group, const TraceStep& step) {
  auto tensors = step.tensors;
  tensors.emplace_back("losses", at::tensor(step.losses, at::kDouble));
  write(group, tensors);

  const auto attribute = [&](const char* name, const H5Value& value) {
    h5_write_attribute(file_, group, name, value, temporary_);
  };
  attribute("epoch", step.epoch);
  attribute("step", step.step);
  attribute("learning_rate", step.learning_rate);
  attribute("share", step.share);
  attribute("update", int64_t{step.update});
  attribute("drawn", step.drawn);
}

void TraceWriter::finish(const Weights& weights) {
  if (!wants_more()) return;
  write("final", weights());
  h5_write_attribute(file_, "/", "steps", entries_, temporary_);

  // Sealed with its checksum, then renamed: readers see a whole file or none.
  h5_flush(file_, temporary_);
  h5_close_sealed(file_, temporary_);
  sync_and_rename(temporary_, path_);
  spdlog::info("event=trace path={} steps={}", path_, entries_);
}

void add_stack(NamedTensors& tensors, const std::string& prefix, const at::Tensor& stack,
               const ParameterLayout& layout) {
  for (const auto& entry : layout.entries())
    tensors.emplace_back(prefix + entry.name, stacked_parameter(stack, entry));
}

}  // namespace dissent
