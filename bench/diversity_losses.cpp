// Time of value and gradient of the diversity losses on maps as the number of members grows. Three
// forms are compared: this project's ("dissent": sums over members where an identity allows it,
// else one Gram matrix), a Gram matrix always ("gram", as PyTorch code does it), and a loop over
// pairs ("pairs").
#include <dissent/losses/gradcam.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/parallel.hpp"
#include "harness.hpp"

using namespace dissent;
using namespace dissent::losses;

namespace {

using Similar = std::function<at::Tensor(const at::Tensor&)>;

void report(const std::string& what, int64_t members, const char* form, double milliseconds) {
  bench::report({.bench = "diversity_losses", .peer = form},
                fmt::format("{}, {} members", what, members), milliseconds, {{"members", members}});
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
         bench::least_ms([&] { torch::autograd::grad({similar(x)}, {x}); }));
}

// The network above the maps is small (mean, linear, softplus, linear), so the time is that of the
// loss: the maps and both derivatives.
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
  report("gradcam cosine, batch 16, maps 64x8x8", members, form, bench::least_ms(call));
}

void time_all(int64_t members) {
  for (const auto& name : similarity_names())
    time_similarity(
        members, "similarity " + name, "dissent",
        [kind = similarity_kind(name)](const at::Tensor& x) { return similarity(x, kind); });
  time_similarity(members, "similarity cosine", "gram", cosine_by_gram);
  time_similarity(members, "similarity cosine", "pairs", cosine_by_pairs);

  time_gradcam(members, "dissent",
               [](const at::Tensor& x) { return similarity(x, Similarity::kCosine); });
  time_gradcam(members, "gram", cosine_by_gram);
  time_gradcam(members, "pairs", cosine_by_pairs);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t most = 64;
  bench::Options options("bench_diversity_losses",
                         "Time of value and gradient of diversity losses over the number of "
                         "members, in three forms.");
  options.number("members", most, "largest number of members: 2, 4, 8, ...", 2);
  return bench::run(options, argc, argv, [&] {
    set_threads(options.threads(1));
    at::manual_seed(1);
    for (int64_t members = 2; members <= most; members *= 2) time_all(members);
  });
}
