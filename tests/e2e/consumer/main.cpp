#include <ATen/ATen.h>
#include <dissent/error.hpp>
#include <dissent/losses/ncl.hpp>

#include <iostream>

int main() {
  const auto logits = at::tensor({0.0, 1.0, 2.0, -1.0})
                          .view({2, 1, 2})
                          .set_requires_grad(true);  // 2 members, 1 sample, 2 classes
  const auto loss = dissent::losses::ncl(logits);
  loss.backward();
  std::cout << loss.item<double>() << " " << logits.grad().flatten()[0].item<double>() << "\n";
  try {
    dissent::losses::ncl(logits.detach()[0]);
  } catch (const dissent::Error& error) {
    std::cout << error.what() << "\n";
  }
}
