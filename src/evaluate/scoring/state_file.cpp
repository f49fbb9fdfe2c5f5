#include "evaluate/scoring/state_file.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "evaluate/subjects/content_hash.hpp"
#include "storage/atomic_file.hpp"
#include "storage/h5.hpp"

namespace dissent {
namespace {

// How many first rows of the bank the tensor is; 0 if it is not a part of it.
int64_t rows_of_bank(const at::Tensor& values, const at::Tensor& bank) {
  // The same memory, not the same values: a bank of neighbours keeps the features as they were
  // given.
  const bool same = bank.defined() && values.dim() == 2 && bank.dim() == 2 && values.size(0) > 0 &&
                    values.scalar_type() == bank.scalar_type() &&
                    values.const_data_ptr() == bank.const_data_ptr() &&
                    values.size(1) == bank.size(1) && values.size(0) <= bank.size(0);
  return same ? values.size(0) : 0;
}

}  // namespace

void write_state(const std::string& path, const std::string& identity, const scores::State& state,
                 const at::Tensor& features, const at::Tensor& logits) {
  const auto self = make_self_communicator();

  // The size is reserved first, so that a full disk is found before anything is written.
  int64_t bytes = 65536;
  for (const auto& [name, values] : state)
    if (rows_of_bank(values, features) + rows_of_bank(values, logits) == 0)
      bytes += static_cast<int64_t>(values.nbytes()) + 4096;

  const auto temporary = temporary_name(path);
  auto file = h5_create(temporary, bytes);
  h5_write_attribute(file, "/", "format", std::string("dissent-state"), temporary);
  h5_write_attribute(file, "/", "version", int64_t{2}, temporary);
  h5_write_attribute(file, "/", "identity", identity, temporary);

  ContentHash hash;
  for (const auto& [name, values] : state) {
    // Training outputs that the state holds unchanged are not written again.
    bool in_bank = false;
    for (const auto& [bank, bank_values] :
         {std::pair(kFeatureBank, features), std::pair(kLogitBank, logits)}) {
      const int64_t rows = rows_of_bank(values, bank_values);
      if (rows == 0 || in_bank) continue;
      h5_write_attribute(file, "/", "bank:" + name, fmt::format("{} {}", bank, rows), temporary);
      in_bank = true;
    }
    if (in_bank) continue;

    // HDF5 has no bool and our datasets no scalars, so both are converted.
    const auto host = (values.scalar_type() == at::kBool ? values.to(at::kByte) : values)
                          .detach()
                          .cpu()
                          .contiguous();
    const bool scalar = host.dim() == 0;
    const auto shaped = scalar ? host.reshape({1}) : host;
    hash.add(name);
    hash.add(shaped);
    if (scalar) h5_write_attribute(file, "/", "scalar:" + name, int64_t{1}, temporary);
    h5_add_dataset(file, "state/" + name, shaped.sizes(), shaped.scalar_type(), temporary);
    h5_write_rows(file, "state/" + name, 0, shaped, *self, temporary);
  }
  h5_write_attribute(file, "/", "hash", hash.text(), temporary);
  h5_close_sealed(file, temporary);

  // Not flushed to the disk, which takes longer than most fits: a file damaged by a crash has
  // another hash, and the state is fitted again.
  std::filesystem::rename(temporary, path);
}

bool has_state(const std::string& path, const std::string& identity) {
  if (!path_exists(path)) return false;
  try {
    const auto file = h5_open(path);

    // A damaged file is not an error: the state is fitted again.
    const auto has_text = [&](const char* name, const std::string& expected) {
      const auto value = h5_read_attribute(file, "/", name, path);
      const auto* text = std::get_if<std::string>(&value);
      return text && *text == expected;
    };
    if (!has_text("identity", identity)) return false;

    // In alphabetical order, as write_state() goes through the map.
    ContentHash hash;
    for (const auto& name : h5_dataset_names(file, "state", path)) {
      hash.add(name);
      hash.add(h5_read(file, "state/" + name, path));
    }
    return has_text("hash", hash.text());
  } catch (const Error&) {
    return false;
  }
}

std::optional<scores::State> read_state(
    const std::string& path, const std::string& identity,
    const std::function<at::Tensor(const std::string&)>& read_bank) {
  if (!has_state(path, identity)) return std::nullopt;
  const auto file = h5_open(path);
  const auto attributes = h5_attribute_names(file, "/", path);

  scores::State state;
  for (const auto& name : h5_dataset_names(file, "state", path)) {
    state[name] = h5_read(file, "state/" + name, path);
    if (std::find(attributes.begin(), attributes.end(), "scalar:" + name) != attributes.end())
      state[name] = state[name].reshape({});
  }

  // Tensors that are rows of a bank.
  for (const auto& attribute : attributes) {
    if (!attribute.starts_with("bank:")) continue;

    // "features 50000": the bank, and the number of its first rows.
    const auto text = std::get<std::string>(h5_read_attribute(file, "/", attribute, path));
    const std::string bank = text.starts_with(kFeatureBank) ? kFeatureBank : kLogitBank;
    state[attribute.substr(5)] = read_bank(bank).narrow(0, 0, std::stoll(text.substr(bank.size())));
  }
  return state;
}

}  // namespace dissent
