#pragma once
#include <string>
#include <vector>

#include "report/table.hpp"

namespace dissent::report {

/// The one table of layouts: name, meaning, rows, columns, citation.
const std::vector<Layout>& layouts();
/// Error::kUsage with the nearest name.
const Layout& find_layout(const std::string& name);
/// Layouts that are only written in the form of a release, byte for byte, as CSV:
/// sed_released_generalisation, sed_released_detection, openood.
bool has_released_form(const Layout& layout);

/// Rows and columns by the values of result columns: pivot_layout(set, {"method"}, {"dataset",
/// "metric"}, ...). scale 100: per cent. Error::kUsage for a column that no file has.
Layout pivot_layout(const ResultSet& set, const std::vector<std::string>& rows,
                    const std::vector<std::string>& columns, const std::vector<Condition>& where,
                    double scale, int digits);

/// The 15 corruptions of ImageNet-C that SED averages, with the severity: "gaussian_noise_5".
std::vector<std::string> corruption_names(int severity);

/// Text of `dissent tables layouts`: a Markdown table.
std::string layouts_page();

}  // namespace dissent::report
