#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dissent::report {

/// One value of a run at an epoch, as TensorBoard shows it.
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

/// The same without the first record, to be appended to a file that has it.
std::string event_records(const std::vector<Scalar>& scalars);

/// CRC-32C (Castagnoli); that of "123456789" is 0xe3069283.
uint32_t crc32c(const std::string& bytes);

/// Writes FOLDER/<experiment>/<run>/events.out.tfevents.<start>.dissent for each run folder: the
/// columns of train.csv by epoch (losses under train/, values on the validation set under
/// validation/), and at the last epoch the result rows of the run in `results`
/// (test/<dataset>/<metric>...). The times divide the training's wall time in provenance.json
/// evenly. Returns the paths. Error::kData with the name of a missing or invalid file.
std::vector<std::string> write_event_files(const std::vector<std::string>& runs,
                                           const std::vector<std::string>& results,
                                           const std::string& folder);

/// A TensorBoard event file that grows while a run trains: one per run, in its folder, so that
/// `tensorboard --logdir <output>` shows it as <experiment>/<run>.
class EventLog {
 public:
  /// resume: the content of the run's file is kept up to its last complete epoch; else the run's
  /// files of this kind are deleted. Nothing is written yet.
  EventLog(std::string run, bool resume);
  /// Appends the rows of <run>/train.csv that the file does not have, with the names of
  /// write_event_files(), in one write. Never throws: the first problem is one warning and ends the
  /// log.
  void append() noexcept;
  const std::string& path() const { return path_; }

 private:
  std::string run_, path_;
  int64_t last_ = -1;  ///< epoch
  bool failed_ = false;
};

}  // namespace dissent::report
