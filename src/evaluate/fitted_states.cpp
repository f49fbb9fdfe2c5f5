#include "evaluate/fitted_states.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/shaped_energy.hpp>
#include <dissent/scores/shaping.hpp>

#include "core/stop.hpp"
#include "evaluate/content_hash.hpp"
#include "evaluate/figures.hpp"
#include "evaluate/state_file.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

using scores::FitField;

// What a score reads of the two sets.
struct Reads {
  bool train_features = false, train_logits = false, validation_features = false,
       validation_logits = false;
  bool train = false, validation = false, head = false;
};

Reads reads_of(const PlannedScore& score) {
  Reads reads;
  if (!score.post) {
    reads.validation_features = score.shaping == "react";
    reads.validation_logits = score.shaping == "vector" || score.shaping == "conformal";
    reads.validation = reads.validation_features || reads.validation_logits;
    return reads;
  }
  for (const auto field : score.post->needs) switch (field) {
      case FitField::kTrainFeatures: reads.train_features = reads.train = true; break;
      case FitField::kTrainLogits: reads.train_logits = reads.train = true; break;
      case FitField::kTrainLabels: reads.train = true; break;
      case FitField::kValidationFeatures:
        reads.validation_features = reads.validation = true;
        break;
      case FitField::kValidationLogits: reads.validation_logits = reads.validation = true; break;
      case FitField::kValidationLabels: reads.validation = true; break;
      case FitField::kHead: reads.head = true; break;
    }
  return reads;
}

bool of_mean_probabilities(const FitRequest& request) {
  return request.score.post && request.predictor.group &&
         request.score.form == "mean_probabilities";
}

// The outputs of one predictor on the two sets, gathered when first asked for.
class Gathered {
 public:
  Gathered(const SetOutputs* train_outputs, const SetOutputs* validation_outputs,
           const FitSets& sets, const LoadedEnsemble& ensemble, const EvaluateOptions& options)
      : train_outputs_(train_outputs),
        validation_outputs_(validation_outputs),
        sets_(sets),
        ensemble_(ensemble),
        options_(options) {}

  scores::FitData data(const FitRequest& request) {
    const auto reads = reads_of(request.score);
    scores::FitData data;
    if (reads.train)
      fill(data.train, train_, *train_outputs_, *sets_.train, request, reads.train_features,
           reads.train_logits);
    if (reads.validation)
      fill(data.validation, validation_, *validation_outputs_, *sets_.validation, request,
           reads.validation_features, reads.validation_logits);
    if (reads.head && !request.predictor.group)
      data.head = ensemble_.head(request.predictor.units[0]);
    return data;
  }
  at::Tensor bank(const FitRequest& request, const std::string& name) {
    scores::FeatureSet set;
    fill(set, train_, *train_outputs_, *sets_.train, request, name == "features", name == "logits");
    return name == "features" ? set.features : set.logits;
  }
  // [k, N, D] of all networks of a predictor, on validation.
  at::Tensor network_features(const Predictor& predictor) const {
    std::vector<at::Tensor> all;
    for (const int64_t unit : predictor.units)
      all.push_back(whole_outputs(*validation_outputs_, *sets_.validation,
                                  {ensemble_.unit_name(unit), {unit}, false}, true, false, options_)
                        .features);
    return at::stack(all);
  }

 private:
  // Scores that read the log of mean probabilities have logits of their own; they are not kept.
  void fill(scores::FeatureSet& set, WholeOutputs& kept, const SetOutputs& outputs,
            const EvaluationSet& rows, const FitRequest& request, bool features, bool logits) {
    const bool means = logits && of_mean_probabilities(request);
    const bool more_features = features && !kept.features.defined(),
               more_logits = logits && !means && !kept.logits.defined();
    if (more_features || more_logits || !kept.labels.defined()) {
      const auto read =
          whole_outputs(outputs, rows, request.predictor, more_features, more_logits, options_);
      if (more_features) kept.features = read.features;
      if (more_logits) kept.logits = read.logits;
      kept.labels = read.labels;
    }
    if (features) set.features = kept.features;
    if (logits)
      set.logits =
          means
              ? whole_outputs(outputs, rows, request.predictor, false, true, options_, true).logits
              : kept.logits;
    set.labels = kept.labels;
  }
  const SetOutputs *train_outputs_, *validation_outputs_;
  const FitSets& sets_;
  const LoadedEnsemble& ensemble_;
  const EvaluateOptions& options_;
  WholeOutputs train_, validation_;
};

// Quantile of the conformal scores of the validation set.
scores::State conformal_state(const scores::FitData& data, const EvaluateOptions& options) {
  const auto wanted = conformal_options(options);
  std::vector<at::Tensor> all;
  const auto& logits = data.validation.logits;
  for (int64_t first = 0; first < logits.size(0); first += options.block_rows) {
    const int64_t count = std::min(options.block_rows, logits.size(0) - first);
    all.push_back(metrics::conformal_scores(at::softmax(logits.narrow(0, first, count), 1),
                                            data.validation.labels.narrow(0, first, count), wanted,
                                            first));
  }
  return {{"quantile", at::scalar_tensor(metrics::conformal_quantile(at::cat(all), wanted.level),
                                         at::kDouble)}};
}

scores::State fitted(const FitRequest& request, Gathered& gathered, const EvaluateOptions& options,
                     at::Tensor& features, at::Tensor& logits) {
  if (request.score.shaping == "conformal") return conformal_state(gathered.data(request), options);
  if (request.score.shaping == "vector") {
    const auto data = gathered.data(request);
    const auto scaling = scores::fit_vector_scaling(data.validation.logits, data.validation.labels);
    return {{"scale", scaling.scale}, {"shift", scaling.shift}};
  }
  if (request.score.post) {
    const auto data = gathered.data(request);
    features = data.train.features;
    logits = data.train.logits;
    return scores::fit(*request.score.post, data, request.score.options);
  }
  const auto* react = std::any_cast<scores::ReactOptions>(&request.score.options);
  DISSENT_CHECK(react, kInternal, "'{}' is not fitted", request.score.name);
  return {{"threshold", scores::react_threshold(gathered.network_features(request.predictor),
                                                react->percentile, false)}};
}

std::string identity_of(const FitRequest& request, const LoadedEnsemble& ensemble,
                        const FitSets& sets, const EvaluateOptions& options) {
  const auto reads = reads_of(request.score);
  const auto level = request.score.shaping == "conformal"
                         ? fmt::format("{} {}", options.conformal, options.conformal_level)
                         : "";
  return fmt::format(
      "state = {} {}\nensemble = {}\nunits = {}\ncombine = {}\nweights = {}\nfit = {}\nvalidation "
      "= {}\nblock_rows = {}\nrounding = {}\n",
      state_key(request.predictor, request.score), level, ensemble.identity,
      fmt::join(request.predictor.units, ","), request.predictor.group ? options.combine : "",
      request.predictor.group ? fmt::format("{}", fmt::join(options.weights, ",")) : "",
      reads.train ? sets.train->identity() : "",
      reads.validation ? sets.validation->identity() : "", options.block_rows,
      options.logits_cache == "f16" ? "f16" : "f32");
}

// Requests of one predictor, which one rank fits.
struct FitTask {
  size_t ensemble;
  std::string predictor;
  std::vector<const FitRequest*> requests;
};

std::vector<FitTask> tasks_of(const std::vector<FitRequest>& requests,
                              const std::vector<FittedStates>& states) {
  std::vector<FitTask> tasks;
  std::vector<std::string> seen;
  for (const auto& request : requests) {
    const auto key = state_key(request.predictor, request.score),
               place = fmt::format("{} {}", request.ensemble, key);
    const bool fitted = reads_of(request.score).train || reads_of(request.score).validation;
    if (!fitted || states[request.ensemble].contains(key) || wants(seen, place)) continue;
    seen.push_back(place);
    const auto same = [&](const FitTask& task) {
      return task.ensemble == request.ensemble && task.predictor == request.predictor.name;
    };
    auto at = std::find_if(tasks.begin(), tasks.end(), same);
    if (at == tasks.end())
      at = tasks.insert(tasks.end(), {request.ensemble, request.predictor.name, {}});
    at->requests.push_back(&request);
  }
  return tasks;
}

}  // namespace

WholeOutputs whole_outputs(const SetOutputs& outputs, const EvaluationSet& set,
                           const Predictor& predictor, bool features, bool logits,
                           const EvaluateOptions& options, bool mean_probabilities) {
  WholeOutputs whole;
  whole.labels = set.labels(0, set.rows());
  for (int64_t first = 0; (features || logits) && first < set.rows(); first += options.block_rows) {
    throw_if_stopped();
    const int64_t count = std::min(options.block_rows, set.rows() - first);
    const auto x = outputs.needs_inputs(first) ? set.inputs(first, count) : at::Tensor();
    const auto block = outputs.read(first, count, x, predictor.units, features);
    if (features) {
      if (first == 0) whole.features = at::empty({set.rows(), block.features.size(2)}, at::kFloat);
      whole.features.narrow(0, first, count).copy_(block.features[0]);
    }
    if (!logits) continue;
    if (first == 0) whole.logits = at::empty({set.rows(), block.logits.size(2)}, at::kFloat);
    whole.logits.narrow(0, first, count)
        .copy_(mean_probabilities ? scores::log_mean_probabilities(block.logits)
                                  : output_logits(block.logits, predictor, options));
  }
  return whole;
}

void fit_states(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                const std::vector<FitRequest>& requests, const FitSets& sets,
                const EvaluateConfig& config, std::vector<FittedStates>& states) {
  agree(comm, [&] {  // those that read no set are their options, and maybe the head
    for (const auto& request : requests) {
      const auto reads = reads_of(request.score);
      if (!request.score.post || reads.train || reads.validation) continue;
      scores::FitData data;
      if (reads.head && !request.predictor.group)
        data.head = ensembles[request.ensemble].head(request.predictor.units[0]);
      states[request.ensemble][state_key(request.predictor, request.score)] =
          scores::fit(*request.score.post, data, request.score.options);
    }
  });
  const auto tasks = tasks_of(requests, states);
  if (tasks.empty()) return;
  const auto& options = config.evaluate;
  std::vector<std::unique_ptr<SetOutputs>> train, validation;
  for (const auto& ensemble : ensembles) {
    train.push_back(
        sets.train ? std::make_unique<SetOutputs>(comm, ensemble, *sets.train, config.outputs())
                   : nullptr);
    validation.push_back(sets.validation ? std::make_unique<SetOutputs>(
                                               comm, ensemble, *sets.validation, config.outputs())
                                         : nullptr);
  }
  const auto path_of = [&](const FitRequest& request, const std::string& identity) {
    return fmt::format("{}/{}.h5",
                       work_folder(ensembles[request.ensemble], config.outputs(), "states"),
                       content_hash(identity));
  };
  agree(comm, [&] {
    for (size_t t = comm.rank(); t < tasks.size(); t += comm.size()) {
      const auto& ensemble = ensembles[tasks[t].ensemble];
      Gathered gathered(train[tasks[t].ensemble].get(), validation[tasks[t].ensemble].get(), sets,
                        ensemble, options);
      make_folder(work_folder(ensemble, config.outputs(), "states"));
      for (const auto* request : tasks[t].requests) {
        const auto identity = identity_of(*request, ensemble, sets, options),
                   path = path_of(*request, identity);
        if (has_state(path, identity)) continue;
        throw_if_stopped();
        at::Tensor features, logits;
        const auto state = fitted(*request, gathered, options, features, logits);
        write_state(path, identity, state, features, logits);
      }
    }
  });
  agree(comm, [&] {
    for (const auto& task : tasks) {
      Gathered gathered(train[task.ensemble].get(), validation[task.ensemble].get(), sets,
                        ensembles[task.ensemble], options);
      for (const auto* request : task.requests) {
        const auto identity = identity_of(*request, ensembles[task.ensemble], sets, options),
                   path = path_of(*request, identity);
        auto state = read_state(
            path, identity, [&](const std::string& name) { return gathered.bank(*request, name); });
        DISSENT_CHECK(state, kData, "{}: the state that was just written is not there", path);
        states[task.ensemble][state_key(request->predictor, request->score)] = std::move(*state);
      }
    }
  });
}

}  // namespace dissent
