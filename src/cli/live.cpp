#include "cli/live.hpp"

#include <cstdlib>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "core/process.hpp"
#include "report/event_file.hpp"

namespace dissent::cli {

std::vector<std::string> train_overrides(const CommandLine& line) {
  // The variables are set by `dissent jobs --wandb, --tensorboard`.
  std::vector<std::string> all;
  if (const char* mode = std::getenv("DISSENT_WANDB"); mode && *mode)
    all.push_back(fmt::format("runtime.wandb=\"{}\"", mode));
  if (const char* on = std::getenv("DISSENT_TENSORBOARD"); on && *on)
    all.push_back(fmt::format("runtime.tensorboard={}", on));

  // Later overrides replace earlier ones.
  const auto given = line.get<std::vector<std::string>>("set");
  all.insert(all.end(), given.begin(), given.end());
  if (line.has("wandb"))
    all.push_back(fmt::format("runtime.wandb=\"{}\"", line.get<std::string>("wandb")));
  if (line.flag("tensorboard")) all.emplace_back("runtime.tensorboard=true");
  return all;
}

Live::Live(Communicator& world, const RuntimeOptions& options)
    : tensorboard_(options.tensorboard), finish_s_(options.wandb_finish_s) {
  agree(world, [&] {
    if (world.rank() == 0)
      plan_ = report::plan_wandb({options.wandb, options.wandb_project, options.wandb_entity});
  });

  if (!plan_.note.empty()) spdlog::warn("event=wandb_off reason=\"{}\"", plan_.note);

  // With several runs at a time each run is logged by its own first rank, so all ranks take the
  // choices of rank 0.
  const auto text =
      broadcast_text(world, fmt::format("{}{}", tensorboard_ ? "t" : "-", plan_.to_text()), 0);

  tensorboard_ = text[0] == 't';
  plan_ = report::WandbPlan::from_text(text.substr(1));
}

void Live::begin(RunContext& context, bool resumed, bool anew) {
  // The callback shares both with this object: the trainer calls it after each epoch, and finish()
  // waits for the processes.
  std::shared_ptr<report::EventLog> events;
  std::shared_ptr<report::WandbProcess> wandb;
  if (tensorboard_) events = std::make_shared<report::EventLog>(context.folder, resumed);
  if (plan_.on) {
    wandb = std::make_shared<report::WandbProcess>(plan_, context.folder, anew);
    processes_.push_back(wandb);
  }

  context.after_epoch = [events, wandb] {
    if (events) events->append();
    if (wandb) wandb->look();
  };
}

void Live::finish(bool stopped) noexcept {
  // One deadline for all runs. After a signal a job has little time left before it is killed.
  const double deadline = steady_s() + (stopped ? finish_s_ / 3 : finish_s_);
  for (const auto& process : processes_) process->finish(deadline);
  processes_.clear();
}

}  // namespace dissent::cli
