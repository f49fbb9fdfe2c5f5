#include "doctor/doctor.hpp"

#include <string>
#include <vector>

#include <dissent/error.hpp>

#include "cli/compute.hpp"
#include "cli/schemas.hpp"

namespace dissent::cli {

int run_doctor(Runtime& runtime, const CommandLine& line) {
  doctor::Options options;
  options.timeout_s = line.get<double>("timeout");
  options.folder = line.get<std::string>("folder");
  options.json = line.flag("json");
  options.verbs = {{"cache", "data.dataset", cache_schema},
                   {"evaluate", "evaluate", evaluate_schema}};

  // A function, not a document: the check itself reads the file, and reports its errors as
  // findings.
  if (const auto path = line.get<std::string>("config"); !path.empty())
    options.configuration = [&runtime, &line, path] {
      return load_configuration(runtime, path, line.get<std::vector<std::string>>("set"));
    };
  return doctor::run_checks(runtime, options) ? 0 : exit_code(ErrorKind::kCheck);
}

}  // namespace dissent::cli
