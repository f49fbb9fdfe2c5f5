#pragma once
#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/image_members.hpp"
#include "ensemble/split_loss.hpp"
#include "losses/weighted_sum.hpp"
#include "train/images/discriminator.hpp"
#include "train/images/loss_scale.hpp"
#include "train/update/optimizer.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// The objective of an image ensemble: mean over members of the base losses, plus the weighted
/// others.
struct ImageObjective {
  std::vector<losses::LossTerm> terms = {};  ///< each name once
  bool same_batch =
      false;  ///< one batch for all members: the others read the outputs of the training pass
  bool unlabelled = false;  ///< the others read a batch of the unlabelled set, whose labels are the
                            ///< classes that the mean logits predict
};
/// Why a loss cannot be trained with images so, or nothing if it can.
std::optional<std::string> impossible_on_images(const losses::LossTerm& term,
                                                const ImageObjective& objective);

/// A batch, or this data rank's part of it.
struct ImageRows {
  at::Tensor x;       ///< [b, 3, S, S]
  at::Tensor labels;  ///< [b] i64; undefined: unlabelled
  int64_t total = 0;  ///< rows of the batch over all data ranks
};

/// One batch of training.
struct ImageStepInput {
  int64_t epoch = 0, batch = 0;    ///< from 0: when losses are on
  uint64_t seed = 0, counter = 0;  ///< of the draws of the step
  int64_t drawn = 0;               ///< the member that A2D is measured from
  std::vector<ImageRows> own =
      {};  ///< a batch for each network that this rank holds; one for all with same_batch
  ImageRows diversity = {};  ///< for the losses that are no base losses; not read with same_batch
                             ///< and no unlabelled set
};

struct ImageStepOptions {
  double clip_norm = 0;          ///< largest norm of the gradient over all members; 0: no clipping
  bool skip_not_finite = false;  ///< else a gradient that is not finite is a failure
  at::ScalarType compute = at::kFloat;  ///< of the products: f32, or bf16 and f16 through autocast
  bool synchronised_batch_norm =
      false;  ///< statistics of the whole batch, not of each data rank's part
  /// Whether this rank wants to end; once true it stays so. Looked at between the passes of
  /// networks, by any thread, in steps that take long. Empty: never.
  std::function<bool()> stop = {};
};

/// Where an update stands in the training, for its error.
struct UpdatePlace {
  int64_t epoch = 0, step = 0;
  at::Tensor figures = {};  ///< this rank's of the step [columns] f64
};

/// Forward and backward passes of the networks that this rank holds, and their update.
///   total = 1/M sum over members m of sum over base losses w_k l_k(z_m)  +  sum over the others
///       w_k L_k(all members)
/// With same_batch = false each member has a batch of its own for the base losses (training mode);
/// the others read one batch that all members saw, in evaluation mode, after the training pass has
/// moved the running statistics. Members of other ranks enter as constants
/// (ensemble/split_loss.hpp). Gradients of a batch that is split over data ranks are summed over
/// them. BatchNorm's statistics are those of each rank's part, or of the whole batch
/// (models/networks/synchronised_batch_norm.hpp): training passes then wait for other ranks, so
/// those of this rank's networks run one after the other. A rank may have no rows of a batch that
/// base losses alone read.
/// On the CPU the results have the same bits for every split of the members.
/// Ref: sdde openood/trainers/deed_trainer.py DEEDTrainer.train_epoch; cases sdde_losses.h5
/// sdde_step
class ImageStepper {
 public:
  ImageStepper(ImageMembers& members, const ImageObjective& objective,
               const ImageStepOptions& options, Grid& grid, Discriminator* discriminator);
  ~ImageStepper();

  /// Columns of the figures of a step: of each base loss one a network of the ensemble, of each
  /// other loss one.
  int64_t columns() const { return columns_; }
  /// From the figures of a step [columns]: each term's value, without its weight.
  std::vector<double> term_values(const at::Tensor& figures) const;

  /// True if the batch wants `diversity`.
  bool reads_diversity_batch(const ImageStepInput& input) const;

  /// Adds share times the gradient of the batch to what is accumulated, and share times this rank's
  /// figures to `figures` [columns] f64, of which every other rank's stay 0. Collective over the
  /// run.
  /// False, on every rank, if a rank wanted to stop meanwhile: the step is abandoned then, all that
  /// it had changed is as before its first batch, and `figures` hold anything. A rank that wants to
  /// stop passes over its remaining passes, so it ends within that of one network (with
  /// synchronised statistics: within half a batch); steps of less than a second are finished
  /// instead.
  bool accumulate(const ImageStepInput& input, double share, at::Tensor figures);

  struct Outcome {
    bool skipped = false;             ///< not finite, and on_nan = "skip_step" or half precision
    double norm = 0;                  ///< of the gradient over all members
    Request agreed = Request::kNone;  ///< the largest request of any rank
  };
  /// One step of the optimiser with what was accumulated. Error::kData on every rank if the
  /// gradient is not finite: place, terms and members that are not. Collective over the run.
  Outcome update(Optimizer& optimizer, double learning_rate, Request request,
                 const UpdatePlace& place = {});

  LossScale& loss_scale() { return scale_; }

 private:
  struct Graph;
  struct Pull;
  std::vector<at::Tensor> leaves(int64_t network) const;
  ImageOutput forward(int64_t network, const std::vector<at::Tensor>& parameters,
                      const at::Tensor& x, bool training) const;
  at::Tensor base_loss(int64_t network, const ImageStepInput& input, const ImageRows& rows,
                       const at::Tensor& x, const at::Tensor& logits, const Graph& graph,
                       double* figures, double share) const;
  void base_pass(int64_t network, const ImageStepInput& input, Graph& graph, bool keep, bool later,
                 double* figures, double share) const;
  void base_backward(const at::Tensor& loss, Graph& graph, double share) const;
  void diversity_forward(int64_t network, const ImageStepInput& input, Graph& graph) const;
  void compute_maps(int64_t network, const ImageStepInput& input, const at::Tensor& labels,
                    Graph& graph) const;
  Pull pull(const ImageStepInput& input, const std::vector<Graph>& graphs, const at::Tensor& labels,
            double* figures, double share);
  void backward(int64_t network, const Pull& pull, Graph& graph, double share) const;
  void check_rows(const ImageRows& rows) const;
  void run_pieces(const std::vector<std::function<void()>>& pieces, bool in_order) const;
  void add_gradient(int64_t network, const std::vector<at::Tensor>& gradient);
  at::Tensor labels_of(const ImageRows& rows, const std::vector<Graph>& graphs);
  bool is_on(const losses::LossTerm& term, const ImageStepInput& input) const;
  EnsembleSplit split(int64_t rows);
  void begin_step();
  bool wants_to_stop() const { return watches_ && options_.stop(); }
  bool abandoned();

  ImageMembers& members_;
  ImageObjective objective_;
  ImageStepOptions options_;
  Grid& grid_;
  Discriminator* discriminator_;
  std::unique_ptr<Communicator> device_members_,
      device_data_;  // over device memory; unset on the host
  Communicator* batch_norm_ =
      nullptr;  // ranks that training passes share their statistics with; none: their own
  std::vector<int64_t> column_;  // first column of each term
  int64_t columns_ = 0;
  at::Tensor gradients_;  // [n, P]
  bool in_step_ = false;  // a batch of the step has begun
  bool watches_ = false;  // this step may take long: the same on every rank
  std::chrono::steady_clock::time_point step_start_;
  at::Tensor buffers_before_;  // running statistics before the step, where it is watched
  double longest_s_ = std::numeric_limits<double>::infinity();  // of the step before, on any rank
  LossScale scale_;
};

}  // namespace dissent
