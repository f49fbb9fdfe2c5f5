// Preloaded beside the null GPU: convolutions and batch normalisation go through LibTorch's own
// kernels. cuDNN builds plans from what its heuristics say of a device, which is not imitated.
#include <ATen/Context.h>

static const bool off = (at::globalContext().setUserEnabledCuDNN(false), true);
