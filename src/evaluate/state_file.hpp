#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <functional>
#include <optional>
#include <string>

namespace dissent {

/// Writes a state whole (temporary name, then renamed). Tensors that begin `bank` (same memory, all
/// columns) are noted as so many of its rows and not written: the bank is features [N, D] or logits
/// [N, C] of the fit set, which whoever reads the state has to give again. identity: what it
/// belongs to. One rank. Error::kData: disk full, ..
void write_state(const std::string& path, const std::string& identity, const scores::State& state,
                 const at::Tensor& features = {}, const at::Tensor& logits = {});

/// A state of this identity; nothing if there is no file, or one of another identity.
/// read_bank("features") or ("logits") gives the bank that it refers to.
std::optional<scores::State> read_state(
    const std::string& path, const std::string& identity,
    const std::function<at::Tensor(const std::string&)>& read_bank);

/// Whether there is a whole state of this identity.
bool has_state(const std::string& path, const std::string& identity);

}  // namespace dissent
