#include "evaluate/scoring/fitted_states.hpp"

#include <algorithm>
#include <any>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/metrics/conformal.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/shaped_energy.hpp>
#include <dissent/scores/shaping.hpp>
#include <dissent/scores/vector_scaling.hpp>

#include "core/stop.hpp"
#include "evaluate/scoring/calibrators.hpp"
#include "evaluate/scoring/state_file.hpp"
#include "evaluate/subjects/content_hash.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

using scores::FitField;

// What a fit reads of a set.
struct SetInputs {
  bool needed = false, features = false, logits = false;
};

struct FitInputs {
  SetInputs train, validation;
  bool head = false;
  /// Whether a set is read; else the state follows from the options, and maybe the head.
  bool any_set() const { return train.needed || validation.needed; }
};

FitInputs postprocessor_inputs(const scores::PostprocessorInfo& post) {
  // Labels need no forward pass, but the set: `needed` without features or logits.
  FitInputs inputs;
  for (const auto field : post.needs) {
    inputs.train.features |= field == FitField::kTrainFeatures;
    inputs.train.logits |= field == FitField::kTrainLogits;
    inputs.train.needed |= field == FitField::kTrainFeatures || field == FitField::kTrainLogits ||
                           field == FitField::kTrainLabels;
    inputs.validation.features |= field == FitField::kValidationFeatures;
    inputs.validation.logits |= field == FitField::kValidationLogits;
    inputs.validation.needed |= field == FitField::kValidationFeatures ||
                                field == FitField::kValidationLogits ||
                                field == FitField::kValidationLabels;

    inputs.head |= field == FitField::kHead;
  }
  return inputs;
}

FitInputs inputs_of(const FitTarget& target) {
  if (const auto* fit = std::get_if<PostprocessorFit>(&target))
    return postprocessor_inputs(*fit->post);

  // ReAct's threshold is a percentile of features; the other changes of features fit nothing.
  FitInputs inputs;
  if (const auto* fit = std::get_if<ShapingFit>(&target)) {
    inputs.validation.needed = inputs.validation.features = fit->shaping == Shaping::kReact;
    return inputs;
  }
  inputs.validation.needed = inputs.validation.logits = true;  // vector scaling, conformal sets
  return inputs;
}

// Whether the logits of a request are the log of mean probabilities.
bool reads_mean_probabilities(const FitRequest& request) {
  const auto* fit = std::get_if<PostprocessorFit>(&request.target);
  return fit && reads_mean_probabilities(fit->form, request.predictor);
}

// The outputs of one predictor on a whole set: features [N, D] of a single network, logits [N, C]
// with which it predicts, labels [N].
struct WholeOutputs {
  at::Tensor features, logits, labels;
};

// What is read beside the labels.
struct WholeRequest {
  bool features = false, logits = false;
  bool mean_probabilities = false;  // the log of these instead of the predictor's own logits
};

WholeOutputs whole_outputs(const SetOutputs& outputs, const EvaluationSet& set,
                           const Predictor& predictor, WholeRequest request,
                           const EvaluateOptions& options) {
  WholeOutputs whole;
  whole.labels = set.labels(0, set.rows());
  if (!request.features && !request.logits) return whole;
  for (int64_t first = 0; first < set.rows(); first += options.block_rows) {
    throw_if_stopped();
    const int64_t count = std::min(options.block_rows, set.rows() - first);

    // Blocks of the size with which caches are written, so none crosses a shard.
    const auto x = outputs.needs_inputs(first) ? set.inputs(first, count) : at::Tensor();
    const auto block = outputs.read(first, count, x, predictor.units, request.features);
    if (request.features) {
      // The width of features and logits is known after the first block; f32, as networks give
      // them.
      if (first == 0) whole.features = at::empty({set.rows(), block.features.size(2)}, at::kFloat);
      whole.features.narrow(0, first, count).copy_(block.features[0]);
    }

    if (!request.logits) continue;
    if (first == 0) whole.logits = at::empty({set.rows(), block.logits.size(2)}, at::kFloat);
    whole.logits.narrow(0, first, count)
        .copy_(request.mean_probabilities ? scores::log_mean_probabilities(block.logits)
                                          : output_logits(block.logits, predictor, options));
  }
  return whole;
}

// The outputs of one predictor on the two sets, computed when a fit first needs them.
class PredictorOutputs {
 public:
  PredictorOutputs(const SetOutputs* train_outputs, const SetOutputs* validation_outputs,
                   const FitSets& sets, const LoadedEnsemble& ensemble,
                   const EvaluateOptions& options)
      : train_outputs_(train_outputs),
        validation_outputs_(validation_outputs),
        sets_(sets),
        ensemble_(ensemble),
        options_(options) {}

  scores::FitData fit_data(const FitRequest& request) {
    const auto inputs = inputs_of(request.target);
    scores::FitData data;
    if (inputs.train.needed)
      fill(data.train, train_, *train_outputs_, *sets_.train, request, inputs.train);

    if (inputs.validation.needed)
      fill(data.validation, validation_, *validation_outputs_, *sets_.validation, request,
           inputs.validation);

    // An ensemble has no single head; scores that need one are fitted per network.
    if (inputs.head && !request.predictor.combined)
      data.head = ensemble_.head(request.predictor.units[0]);
    return data;
  }
  /// The features or logits of the training set, which a state may hold unchanged.
  at::Tensor bank(const FitRequest& request, const std::string& name) {
    const bool features = name == kFeatureBank;
    scores::FeatureSet set;
    fill(set, train_, *train_outputs_, *sets_.train, request,
         {.needed = true, .features = features, .logits = !features});
    return features ? set.features : set.logits;
  }
  /// [k, N, D] of all networks of a predictor, on validation.
  at::Tensor network_features(const Predictor& predictor) const {
    std::vector<at::Tensor> all;

    // whole_outputs() holds the features of one network, so networks are read one after another.
    for (const int64_t unit : predictor.units)
      all.push_back(whole_outputs(*validation_outputs_, *sets_.validation,
                                  {ensemble_.unit_name(unit), {unit}, false}, {.features = true},
                                  options_)
                        .features);
    return at::stack(all);
  }

 private:
  // Fills `set` from `known`, after computing what `known` lacks. The log of mean probabilities is
  // computed for each request, since most fits read the predictor's own logits.
  void fill(scores::FeatureSet& set, WholeOutputs& known, const SetOutputs& outputs,
            const EvaluationSet& rows, const FitRequest& request, SetInputs inputs) {
    const bool means = inputs.logits && reads_mean_probabilities(request);
    const bool more_features = inputs.features && !known.features.defined();
    const bool more_logits = inputs.logits && !means && !known.logits.defined();
    if (more_features || more_logits || !known.labels.defined()) {
      const auto read = whole_outputs(outputs, rows, request.predictor,
                                      {.features = more_features, .logits = more_logits}, options_);
      if (more_features) known.features = read.features;
      if (more_logits) known.logits = read.logits;
      known.labels = read.labels;
    }

    if (inputs.features) set.features = known.features;
    if (means)
      set.logits = whole_outputs(outputs, rows, request.predictor,
                                 {.logits = true, .mean_probabilities = true}, options_)
                       .logits;
    else if (inputs.logits)
      set.logits = known.logits;
    set.labels = known.labels;
  }

  const SetOutputs *train_outputs_, *validation_outputs_;
  const FitSets& sets_;
  const LoadedEnsemble& ensemble_;
  const EvaluateOptions& options_;
  WholeOutputs train_, validation_;
};

// A fitted state, and the training outputs that it may hold unchanged.
struct Fitted {
  scores::State state;
  at::Tensor train_features, train_logits;
};

// Fits one target.
struct Fit {
  const FitRequest& request;
  PredictorOutputs& outputs;
  const EvaluateOptions& options;

  Fitted operator()(const PostprocessorFit& fit) const {
    const auto data = outputs.fit_data(request);
    return {scores::fit(*fit.post, data, fit.options), data.train.features, data.train.logits};
  }

  Fitted operator()(const ShapingFit& fit) const {
    const auto* react = std::any_cast<scores::ReactOptions>(&fit.options);
    DISSENT_CHECK(react, kInternal, "shaping: expected react, the only one with a fit, found '{}'",
                  option_name(fit.shaping));

    // One threshold for all networks of the predictor, from all of their activations.
    const auto features = outputs.network_features(request.predictor);
    return {{{"threshold", scores::react_threshold(features, react->percentile, false)}}, {}, {}};
  }

  Fitted operator()(const VectorScalingFit&) const {
    const auto data = outputs.fit_data(request);
    const auto scaling = scores::fit_vector_scaling(data.validation.logits, data.validation.labels);
    return {{{"scale", scaling.scale}, {"shift", scaling.shift}}, {}, {}};
  }

  // The quantile of the conformal scores of the validation set, which are computed in blocks.
  Fitted operator()(const ConformalFit&) const {
    const auto data = outputs.fit_data(request);

    // Blocks bound the memory of the softmax. The first row of a block keys its random numbers.
    const auto conformal = conformal_options(options);
    const auto& logits = data.validation.logits;
    std::vector<at::Tensor> all;
    for (int64_t first = 0; first < logits.size(0); first += options.block_rows) {
      const int64_t count = std::min(options.block_rows, logits.size(0) - first);
      all.push_back(metrics::conformal_scores(at::softmax(logits.narrow(0, first, count), 1),
                                              data.validation.labels.narrow(0, first, count),
                                              conformal, first));
    }
    const double quantile = metrics::conformal_quantile(at::cat(all), conformal.level);
    return {{{"quantile", at::scalar_tensor(quantile, at::kDouble)}}, {}, {}};
  }
};

// Everything that a state depends on. The text is part of state files of earlier evaluations, which
// another text would not find.
std::string identity_of(const FitRequest& request, const LoadedEnsemble& ensemble,
                        const FitSets& sets, const EvaluateOptions& options) {
  const auto inputs = inputs_of(request.target);
  const bool combined = request.predictor.combined;

  // The options of conformal sets and the rounding of cached outputs change the fit, but are not in
  // the key of the state.
  const auto level =
      std::holds_alternative<ConformalFit>(request.target)
          ? fmt::format("{} {}", option_name(options.conformal), options.conformal_level)
          : "";
  return fmt::format(
      "state = {} {}\nensemble = {}\nunits = {}\ncombine = {}\nweights = {}\nfit = {}\nvalidation "
      "= {}\nblock_rows = {}\nrounding = {}\n",
      state_key(request.predictor, request.target).text(), level, ensemble.identity,
      fmt::join(request.predictor.units, ","), combined ? option_name(options.combine) : "",
      combined ? fmt::format("{}", fmt::join(options.weights, ",")) : "",
      inputs.train.needed ? sets.train->identity() : "",
      inputs.validation.needed ? sets.validation->identity() : "", options.block_rows,
      options.logits_cache == CacheDtype::kF16 ? "f16" : "f32");
}

// The requests of one predictor, which one rank fits, so that its outputs are read once.
struct FitTask {
  size_t ensemble;
  std::string predictor;
  std::vector<const FitRequest*> requests;
};

std::vector<FitTask> tasks_of(const std::vector<FitRequest>& requests,
                              const std::vector<FittedStates>& states) {
  std::vector<FitTask> tasks;
  std::vector<std::pair<size_t, StateKey>> seen;
  for (const auto& request : requests) {
    const auto key = state_key(request.predictor, request.target);
    const std::pair place(request.ensemble, key);

    // A target that several scores share is fitted once, and not at all if its state is known.
    if (!inputs_of(request.target).any_set() || states[request.ensemble].contains(key) ||
        contains(seen, place))
      continue;
    seen.push_back(place);

    auto task = std::find_if(tasks.begin(), tasks.end(), [&](const FitTask& other) {
      return other.ensemble == request.ensemble && other.predictor == request.predictor.name;
    });
    if (task == tasks.end())
      task = tasks.insert(tasks.end(), {request.ensemble, request.predictor.name, {}});
    task->requests.push_back(&request);
  }
  return tasks;
}

// States that need no set are computed by every rank.
void fit_without_sets(const std::vector<LoadedEnsemble>& ensembles,
                      const std::vector<FitRequest>& requests, std::vector<FittedStates>& states) {
  // Without a set the fit is cheap: every rank computes it, and nothing is exchanged or stored.
  for (const auto& request : requests) {
    const auto* fit = std::get_if<PostprocessorFit>(&request.target);
    const auto inputs = inputs_of(request.target);
    if (!fit || inputs.any_set()) continue;
    scores::FitData data;
    if (inputs.head && !request.predictor.combined)
      data.head = ensembles[request.ensemble].head(request.predictor.units[0]);
    states[request.ensemble][state_key(request.predictor, request.target)] =
        scores::fit(*fit->post, data, fit->options);
  }
}

// The outputs of each ensemble on one set; nullptr without the set. Collective.
std::vector<std::unique_ptr<SetOutputs>> open_outputs(Communicator& comm,
                                                      const std::vector<LoadedEnsemble>& ensembles,
                                                      const EvaluationSet* set,
                                                      const OutputOptions& options) {
  std::vector<std::unique_ptr<SetOutputs>> outputs;
  for (const auto& ensemble : ensembles)
    outputs.push_back(set ? std::make_unique<SetOutputs>(comm, ensemble, *set, options) : nullptr);
  return outputs;
}

}  // namespace

std::vector<FitRequest> fit_requests(size_t ensemble, const PredictorSet& predictors,
                                     const std::vector<PlannedScore>& scores) {
  std::vector<FitRequest> requests;

  // Sub-ensembles have only scores that need no fit (column_plan).
  for (const auto* predictor : predictors.without_sub_ensembles())
    for (const auto& score : scores) {
      const auto target = score.fit_target();
      if (target && score.has_column(*predictor))
        requests.push_back({ensemble, *predictor, *target});
    }
  return requests;
}

void fit_states(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                const std::vector<FitRequest>& requests, const FitSets& sets,
                const EvaluateConfig& config, std::vector<FittedStates>& states) {
  agree(comm, [&] { fit_without_sets(ensembles, requests, states); });
  const auto tasks = tasks_of(requests, states);
  if (tasks.empty()) return;

  // Outputs are opened by all ranks, as caches are created collectively; each rank then reads
  // those of its own tasks.
  const auto& options = config.evaluate;
  const auto train = open_outputs(comm, ensembles, sets.train, config.outputs());
  const auto validation = open_outputs(comm, ensembles, sets.validation, config.outputs());
  const auto outputs_of = [&](const FitTask& task) {
    return PredictorOutputs(train[task.ensemble].get(), validation[task.ensemble].get(), sets,
                            ensembles[task.ensemble], options);
  };

  // The name of a file is the hash of what the state depends on, so different states never replace
  // each other.
  const auto path_of = [&](const FitRequest& request, const std::string& identity) {
    return fmt::format("{}/{}.h5",
                       work_folder(ensembles[request.ensemble], config.outputs(), "states"),
                       content_hash(identity));
  };

  // Each rank fits its tasks and writes the states.
  agree(comm, [&] {
    for (size_t t = comm.rank(); t < tasks.size(); t += comm.size()) {
      const auto& ensemble = ensembles[tasks[t].ensemble];

      // The outputs of a predictor are computed once for all of its states.
      auto outputs = outputs_of(tasks[t]);
      make_folder(work_folder(ensemble, config.outputs(), "states"));
      for (const auto* request : tasks[t].requests) {
        const auto identity = identity_of(*request, ensemble, sets, options),
                   path = path_of(*request, identity);
        if (has_state(path, identity)) continue;
        throw_if_stopped();
        const auto fitted = std::visit(Fit{*request, outputs, options}, request->target);
        write_state(path, identity, fitted.state, fitted.train_features, fitted.train_logits);
      }
    }
  });

  // All ranks read all states, also those that earlier evaluations wrote.
  agree(comm, [&] {
    for (const auto& task : tasks) {
      // States may hold rows of the training outputs (banks), which the files refer to instead of
      // storing: they are read from the caches again.
      auto outputs = outputs_of(task);
      for (const auto* request : task.requests) {
        const auto identity = identity_of(*request, ensembles[task.ensemble], sets, options),
                   path = path_of(*request, identity);
        auto state = read_state(
            path, identity, [&](const std::string& name) { return outputs.bank(*request, name); });
        DISSENT_CHECK(state, kData, "{}: expected the state that was just written, found none",
                      path);
        states[task.ensemble][state_key(request->predictor, request->target)] = std::move(*state);
      }
    }
  });
}

}  // namespace dissent
