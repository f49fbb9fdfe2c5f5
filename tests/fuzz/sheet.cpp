#include "jobs/sheet.hpp"
#include "fuzz.hpp"
#include "jobs/import.hpp"

using namespace dissent::jobs;

DISSENT_FUZZ(sheet, kOwn, "name,verb,config,arguments,ranks", "set:training.epochs", "slurm:time",
             "{1..5}", "{10..50..20}", "{a | b}", "{verb}", "{{", "}}", "\"", "whether_to_run",
             "\r\n", ";", "\t", "train", "evaluate") {
  const auto sheet = parse_sheet("sheet.csv", input);
  for (const auto& row : where(sheet, {"name=*a*"})) dissent::fuzz::use(row.cell("verb"));
}

DISSENT_FUZZ(sed_sheet, kOwn, "path_to_main", "path_to_default_config", "whether_to_run",
             "delta:", "__COMMA__", "Default", "EMPTY_STRING", "[a b]", "/caching", "/training",
             "/evaluation", "\"", "\r\n") {
  const auto imported = import_text("sheet.csv", input);
  dissent::fuzz::use(imported.text);
  parse_sheet("imported.csv", imported.text);
}
