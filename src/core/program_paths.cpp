#include "core/program_paths.hpp"

#include <dissent/error.hpp>
#include <filesystem>

namespace dissent {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCompute = "dissent-compute";

}  // namespace

std::string running_program() { return fs::read_symlink("/proc/self/exe").string(); }

std::string front_program() {
  // From a build both programs are in one folder; an installation has dissent in bin and
  // dissent-compute in libexec/dissent.
  const fs::path running = running_program(), folder = running.parent_path();
  if (running.filename() != kCompute) return running;
  for (const auto& place : {folder / "dissent", folder / "../../bin/dissent"})
    if (fs::exists(place)) return place.lexically_normal();
  return running;
}

std::string compute_program() {
  const fs::path running = running_program(), folder = running.parent_path();
  if (running.filename() == kCompute) return running;
  const auto beside = folder / kCompute;
  const auto installed = (folder / "../libexec/dissent" / kCompute).lexically_normal();
  for (const auto& place : {beside, installed})
    if (fs::exists(place)) return place;
  DISSENT_FAIL(kUsage, "{}: expected {} or {}, which {} needs for this verb, found neither",
               kCompute, beside.string(), installed.string(), running.string());
}

std::string helper_program(const std::string& name) {
  const auto folder = fs::path(running_program()).parent_path();
  const auto beside = folder / name, above = (folder / ".." / name).lexically_normal(),
             installed = (folder / "../libexec/dissent" / name).lexically_normal();
  for (const auto& place : {beside, above, installed})
    if (fs::exists(place)) return place;
  DISSENT_FAIL(kUsage, "{}: expected {}, {} or {}, a part of this installation, found none", name,
               beside.string(), above.string(), installed.string());
}

}  // namespace dissent
