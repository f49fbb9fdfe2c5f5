#include "losses/registry.hpp"

// Every loss, one line each, in the order of the documentation. LOSS(adp) stands for the function
// adp_info(), with which src/losses/adp.cpp describes its loss. An explicit list instead of objects
// that register themselves: a linker drops those from a static library.
#define DISSENT_FOR_EACH_LOSS(LOSS) \
  LOSS(cross_entropy)               \
  LOSS(logit_norm)                  \
  LOSS(adversarial_cross_entropy)   \
  LOSS(a2d)                         \
  LOSS(divdis)                      \
  LOSS(ncl)                         \
  LOSS(adp)                         \
  LOSS(gradcam)                     \
  LOSS(input_gradient)              \
  LOSS(dice)                        \
  LOSS(oe)                          \
  LOSS(kl_backward)

namespace dissent::losses {

#define DISSENT_DECLARE_LOSS(name) LossInfo name##_info();
DISSENT_FOR_EACH_LOSS(DISSENT_DECLARE_LOSS)

const std::vector<LossInfo>& loss_table() {
#define DISSENT_CALL_LOSS(name) name##_info(),
  static const std::vector<LossInfo> table = {DISSENT_FOR_EACH_LOSS(DISSENT_CALL_LOSS)};
  return table;
}

#undef DISSENT_CALL_LOSS
#undef DISSENT_DECLARE_LOSS
#undef DISSENT_FOR_EACH_LOSS

}  // namespace dissent::losses
