#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "comm/communicator.hpp"

namespace dissent {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  SelfCommunicator() = default;
  explicit SelfCommunicator(std::shared_ptr<WaitSettings> settings) {
    settings_ = std::move(settings);
  }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Backend backend() const override { return Backend::kSelf; }
  void all_reduce(at::Tensor&, ReduceOp) override {}
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override {
    DISSENT_CHECK(counts.size() == 1 && counts[0] == local.numel(), kInternal,
                  "all_gather: expected the count of one rank, {} elements, found other counts",
                  local.numel());
    return local.reshape({-1}).clone();  // a copy, as with several ranks
  }
  void broadcast(at::Tensor&, int) override {}
  void barrier() override {}
  std::unique_ptr<Communicator> split(int, int) override {
    return std::make_unique<SelfCommunicator>(settings_);
  }
  std::unique_ptr<Communicator> split_by_node() override {
    return std::make_unique<SelfCommunicator>(settings_);
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace dissent
