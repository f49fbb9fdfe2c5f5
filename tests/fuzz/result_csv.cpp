#include "fuzz.hpp"
#include "storage/csv.hpp"
#include "storage/plot_data.hpp"
#include "storage/results.hpp"

using namespace dissent;

DISSENT_FUZZ(result_csv, kOwn, "experiment,run,config_hash,seed,method,members,predictor,dataset,",
             "split,shift,score,metric,convention,fidelity,value,n", "\"\"", "\"", "\r\n", ",",
             "\xEF\xBB\xBF", "nan", "inf", "-1", "1e309") {
  for (const auto& row : read_results(fuzz::file_of(input, "results.csv"))) {
    fuzz::use(number_text(row.value));
    fuzz::use(csv_line({row.experiment, row.predictor}));
  }
}

DISSENT_FUZZ(figure_csv, kOwn, "kind,series,x,y,low,high,weight", "reliability", "histogram", "roc",
             "curve", "\"", "\r\n", ",", "nan", "inf") {
  for (const auto& point : read_plot(fuzz::file_of(input, "figure.csv"))) fuzz::use(point.series);
}
