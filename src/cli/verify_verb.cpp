#include <iostream>

#include "cli/compute.hpp"
#include "cli/verify.hpp"

namespace dissent::cli {

int run_verify_verb(Runtime& runtime, const CommandLine& line) {
  int64_t code = 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() == 0)
      code = run_verify(line.positional(), line.flag("require-all"), std::cout);
  });
  return static_cast<int>(all_gather_integer(runtime.world(), code)[0]);
}

}  // namespace dissent::cli
