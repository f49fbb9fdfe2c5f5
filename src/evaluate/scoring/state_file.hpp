#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <functional>
#include <optional>
#include <string>

namespace dissent {

/// Banks to which a state file may refer: features [N, D] and logits [N, C] of the fit set.
inline constexpr const char* kFeatureBank = "features";
inline constexpr const char* kLogitBank = "logits";

/// Writes a state under a temporary name, then renames it. A tensor that is the first rows of a
/// bank (same memory, all columns) is stored as this number of rows only, and the reader of the
/// state has to provide the bank. identity: what the state belongs to. By one rank. Error::kData:
/// disk full, folder not writable.
void write_state(const std::string& path, const std::string& identity, const scores::State& state,
                 const at::Tensor& features = {}, const at::Tensor& logits = {});

/// The state of this identity; nothing if has_state() is false. read_bank returns the bank of a
/// name, kFeatureBank or kLogitBank. Not collective.
std::optional<scores::State> read_state(
    const std::string& path, const std::string& identity,
    const std::function<at::Tensor(const std::string&)>& read_bank);

/// Whether a complete state of this identity exists: a file that is missing, damaged or of another
/// identity counts as none.
bool has_state(const std::string& path, const std::string& identity);

}  // namespace dissent
