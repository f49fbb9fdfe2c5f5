#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dissent::report {

/// One number of a run over its epochs, as TensorBoard shows it.
struct Scalar {
  std::string tag;  ///< "validation/nll"
  int64_t step = 0;
  double wall_time = 0;  ///< seconds since 1970
  float value = 0;
};

/// The bytes of a TensorBoard event file: records of TFRecord (length, masked CRC-32C of it, bytes,
/// masked CRC-32C of these), each a protocol-buffer Event of TensorFlow (wall_time 1, step 2,
/// file_version 3, summary 5 { value 1 { tag 1, simple_value 2 } }), the first one "brain.Event:2".
std::string event_file(const std::vector<Scalar>& scalars);

/// CRC-32C (Castagnoli): of "123456789" it is 0xe3069283.
uint32_t crc32c(const std::string& bytes);

/// Writes FOLDER/<experiment>/<run>/events.out.tfevents.<start>.dissent for each run folder: the
/// columns of train.csv by epoch (losses under train/, the figures of the validation set under
/// validation/), and at the last epoch the result rows of the run in `results`
/// (test/<dataset>/<metric>...). The times are even parts of the training's wall time in
/// provenance.json. Returns the paths. Error::kData naming the file that is missing or wrong.
std::vector<std::string> write_event_files(const std::vector<std::string>& runs,
                                           const std::vector<std::string>& results,
                                           const std::string& folder);

}  // namespace dissent::report
