// Preloaded together with the null GPU: convolutions, batch normalisation and attention go through
// LibTorch's own kernels. cuDNN builds plans from what its heuristics say of a device, which is not
// imitated.
#include <ATen/Context.h>

static const bool off = [] {
  at::globalContext().setUserEnabledCuDNN(false);
  at::globalContext().setSDPUseCuDNN(false);  // attention
  return true;
}();
