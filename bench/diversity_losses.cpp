// Time of value and gradient of the diversity losses on maps as the number of members grows: the
// form of this project ("dissent": sums over members where an identity allows, else one Gram
// matrix) against a Gram matrix always ("gram", as PyTorch code does it) and a loop over pairs
// ("pairs"). One JSON object a line.
//   bench_diversity_losses [--threads N] [--members MOST]
#include <dissent/losses/gradcam.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/parallel.hpp"

using namespace dissent;
using namespace dissent::losses;

namespace {

using Clock = std::chrono::steady_clock;
using Similar = std::function<at::Tensor(const at::Tensor&)>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The least of ten windows of about 30 ms, in milliseconds a call: what the work takes where
// nothing else runs.
double time_of(const std::function<void()>& call) {
  call();
  auto start = Clock::now();
  call();
  const auto repeats = std::clamp<int64_t>(
      static_cast<int64_t>(0.03 / std::max(seconds_since(start), 1e-6)), 1, 1000);
  std::vector<double> windows;
  for (int window = 0; window < 10; ++window) {
    start = Clock::now();
    for (int64_t i = 0; i < repeats; ++i) call();
    windows.push_back(seconds_since(start) / static_cast<double>(repeats) * 1e3);
  }
  return *std::min_element(windows.begin(), windows.end());
}

void report(const std::string& what, int64_t members, const char* form, double milliseconds) {
  std::printf(
      "{\"bench\": \"diversity_losses\", \"peer\": \"%s\", \"what\": \"%s, %ld members\", "
      "\"members\": %ld, \"threads\": %d, \"ms\": %.4f}\n",
      form, what.c_str(), static_cast<long>(members), static_cast<long>(members), threads(),
      milliseconds);
  std::fflush(stdout);
}

double pairs_of(const at::Tensor& x) {
  return static_cast<double>(x.size(0) * (x.size(0) - 1) * x.size(1));
}
at::Tensor normalised(const at::Tensor& x) { return x / (x.norm(2, -1, true) + kNormEps); }

at::Tensor cosine_by_gram(const at::Tensor& x) {
  const auto v = normalised(x).transpose(0, 1);
  return at::matmul(v, v.transpose(1, 2)).triu(1).sum() * 2 / pairs_of(x);
}

at::Tensor cosine_by_pairs(const at::Tensor& x) {
  const auto v = normalised(x).unbind(0);
  auto sum = at::zeros({}, x.options());
  for (size_t i = 0; i < v.size(); ++i)
    for (size_t j = i + 1; j < v.size(); ++j) sum = sum + (v[i] * v[j]).sum();
  return sum * 2 / pairs_of(x);
}

void time_similarity(int64_t members, const std::string& what, const char* form,
                     const Similar& similar) {
  const auto x = at::randn({members, 128, 196}).set_requires_grad(true);
  report(what + ", batch 128, maps 14x14", members, form,
         time_of([&] { torch::autograd::grad({similar(x)}, {x}); }));
}

// A member's network above the maps is next to nothing (mean, linear, softplus, linear), so the
// time is that of the loss: maps and both derivatives.
void time_gradcam(int64_t members, const char* form, const Similar& similar) {
  const auto f = at::randn({members, 16, 64, 8, 8}).set_requires_grad(true);
  const auto w1 = at::randn({members, 64, 64}).set_requires_grad(true),
             w2 = at::randn({members, 10, 64}).set_requires_grad(true);
  const auto labels = at::randint(10, {16}, at::kLong);
  const auto call = [&] {
    const auto parts = f.unbind(0), first = w1.unbind(0), second = w2.unbind(0);
    std::vector<at::Tensor> logits;
    for (int64_t m = 0; m < members; ++m)
      logits.push_back(
          at::matmul(at::softplus(at::matmul(parts[m].mean(at::IntArrayRef{2, 3}), first[m].t())),
                     second[m].t()));
    const auto maps = saliency_maps(at::stack(logits), labels, MemberInputs::stacked(f), {});
    torch::autograd::grad({similar(maps.flatten(2))}, {f, w1, w2});
  };
  report("gradcam cosine, batch 16, maps 64x8x8", members, form, time_of(call));
}

}  // namespace

int main(int argc, char** argv) {
  int count = 1;
  int64_t most = 64;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0) count = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--members") == 0) most = std::atol(argv[i + 1]);
  }
  set_threads(count);
  at::manual_seed(1);
  const Similar ours = [](const at::Tensor& x) { return similarity(x, Similarity::kCosine); };
  for (int64_t members = 2; members <= most; members *= 2) {
    for (const auto& name : similarity_names())
      time_similarity(
          members, "similarity " + name, "dissent",
          [kind = similarity_kind(name)](const at::Tensor& x) { return similarity(x, kind); });
    time_similarity(members, "similarity cosine", "gram", cosine_by_gram);
    time_similarity(members, "similarity cosine", "pairs", cosine_by_pairs);
    time_gradcam(members, "dissent", ours);
    time_gradcam(members, "gram", cosine_by_gram);
    time_gradcam(members, "pairs", cosine_by_pairs);
  }
  return 0;
}
