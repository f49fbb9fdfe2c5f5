#include "evaluate/subjects/content_hash.hpp"

#include <fmt/format.h>

#include <xxhash.h>
#include <dissent/error.hpp>

namespace dissent {

struct ContentHash::State {
  XXH3_state_t* state = XXH3_createState();
  ~State() { XXH3_freeState(state); }
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) { XXH3_64bits_reset(state_->state); }
ContentHash::~ContentHash() = default;

void ContentHash::add(const std::string& text) {
  XXH3_64bits_update(state_->state, text.data(), text.size());
}

void ContentHash::add(const at::Tensor& values) {
  const auto host = values.cpu().contiguous();
  XXH3_64bits_update(state_->state, host.const_data_ptr(), host.nbytes());
}

std::string ContentHash::text() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_->state));
}

std::string content_hash(const std::string& text) {
  ContentHash hash;
  hash.add(text);
  return hash.text();
}

}  // namespace dissent
