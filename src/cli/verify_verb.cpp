#include <iostream>

#include "cli/verb.hpp"
#include "cli/verify.hpp"

namespace dissent::cli {
namespace {
namespace po = boost::program_options;
}

int run_verify_verb(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(
      verb("verify"),
      "Runs the reference cases in FILEs and says which hold. Exit code 5 if one fails.", "FILE...",
      -1);
  line.add()("require-all", po::bool_switch(),
             "a case that this program does not cover is a failure too");
  if (!line.parse(runtime, arguments)) return 0;
  int64_t code = 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() == 0)
      code = run_verify(line.positional(), line.flag("require-all"), std::cout);
  });
  return static_cast<int>(all_gather_integer(runtime.world(), code)[0]);
}

}  // namespace dissent::cli
