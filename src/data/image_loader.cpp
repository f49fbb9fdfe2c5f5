#include "data/image_loader.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "data/constant_images.hpp"

namespace dissent {
namespace {

constexpr int64_t kLoadRows = 8;
constexpr int64_t kNamed = 10;  // damaged images that are logged one by one

// Message of a damaged image's error; rethrows anything else.
std::string damage_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) throw;
    return error.what();
  }
}

// Damage outside of the part that a transform reads is ignored there too.
char is_constant_whole(const ImageSource& source, int64_t row) {
  try {
    return is_constant(source.image(row));
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace

// A running request. Its tasks, a few rows each, write to disjoint parts of the batch.
struct ImageLoader::Job {
  explicit Job(ImageRequest requested)
      : request(std::move(requested)),
        transform(*request.transform),
        failures(request.rows.size()),
        constant(request.rows.size()) {
    const auto count = static_cast<int64_t>(request.rows.size());
    const int64_t size = transform.options().size;
    batch.rows = request.rows;
    batch.x = at::empty({count, 3, size, size}, at::kFloat);
    batch.labels = request.source->labels().index_select(0, at::tensor(request.rows, at::kLong));
    tasks = waiting = divide_up(count, kLoadRows);
  }

  void run(int64_t task) {
    const int64_t pixels = 3 * transform.options().size * transform.options().size;
    auto* out = batch.x.data_ptr<float>();
    for (int64_t i = task * kLoadRows;
         i < std::min<int64_t>(std::ssize(request.rows), (task + 1) * kLoadRows); ++i) {
      // An exception must not leave a worker thread: it is kept for the caller of get().
      try {
        const int64_t row = request.rows[i];
        const auto needed = [&](int64_t height, int64_t width) {
          return transform.part_of_row(request.seed, request.stream, row, height, width);
        };

        // Only the part of the image that the transform reads needs to be decoded.
        const auto image = request.source->image_for(row, needed);

        // If the part is constant, check the whole image; few are.
        if (image.dim() >= 2) {
          const auto part = needed(image.size(0), image.size(1));
          if (part.height > 0 && part.width > 0 && is_constant(image, part))
            constant[i] = is_constant_whole(*request.source, row);
        }

        transform.row(image, request.seed, request.stream, row, out + i * pixels);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  }

  ImageRequest request;
  ImageTransform transform;
  ImageBatch batch;
  std::vector<std::exception_ptr> failures;
  std::vector<char> constant;      // per image of the request: whether all pixels have one colour
  int64_t tasks = 0, waiting = 0;  // waiting: tasks that have not finished
  std::promise<void> done;
};

struct ImageLoader::Pool {
  explicit Pool(const ImageLoaderOptions& given) : options(given) {
    for (int64_t i = 0; i < options.workers; ++i) threads.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    wake.notify_all();
    for (auto& thread : threads) thread.join();
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [this] { return ending || !queue.empty(); });
      if (queue.empty()) return;

      // Tasks run without the lock. The last task of a job completes it.
      const auto [job, task] = queue.front();
      queue.pop_front();
      lock.unlock();
      job->run(task);
      lock.lock();
      if (--job->waiting == 0) job->done.set_value();
    }
  }

  void start(const std::shared_ptr<Job>& job) {
    // Without workers the calling thread loads the images now, with its team of threads.
    if (threads.empty() || job->tasks == 0) {
      parallel_tasks(job->tasks, [&](int64_t task) { job->run(task); });
      job->done.set_value();
      return;
    }

    const std::lock_guard lock(mutex);
    for (int64_t task = 0; task < job->tasks; ++task) queue.emplace_back(job, task);
    wake.notify_all();
  }

  const ImageLoaderOptions options;
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::pair<std::shared_ptr<Job>, int64_t>> queue;
  bool ending = false;
  std::shared_ptr<int64_t> damaged = std::make_shared<int64_t>(0);
  std::shared_ptr<ConstantImages> constant = std::make_shared<ConstantImages>();
};

ImageLoader::ImageLoader(const ImageLoaderOptions& options) {
  DISSENT_CHECK(options.workers >= 0, kUsage, "image loader: workers: expected >= 0, found {}",
                options.workers);
  pool_ = std::make_unique<Pool>(options);
}

ImageLoader::~ImageLoader() = default;

int64_t ImageLoader::damaged() const { return *pool_->damaged; }
int64_t ImageLoader::constant() const { return pool_->constant->count(); }

std::future<ImageBatch> ImageLoader::load(ImageRequest request) {
  DISSENT_CHECK(request.source && request.transform, kUsage,
                "image loader: request: expected a source and a transform, found {}",
                request.source ? "no transform" : "no source");
  for (const int64_t row : request.rows)
    DISSENT_CHECK(row >= 0 && row < request.source->rows(), kUsage,
                  "image loader: rows: expected 0 .. {} ({}), found {}", request.source->rows() - 1,
                  request.source->name(), row);

  const auto job = std::make_shared<Job>(std::move(request));
  pool_->start(job);

  // The rest is done in get(), by the caller: counters and log belong to one thread.
  return std::async(
      std::launch::deferred, [job, damaged = pool_->damaged, constant = pool_->constant,
                              skip = pool_->options.skip_damaged] {
        job->done.get_future().wait();
        for (size_t i = 0; i < job->constant.size(); ++i)
          if (job->constant[i] != 0) constant->add(*job->request.source, job->request.rows[i]);

        // Damaged images are left out of the batch, or are the error of the whole request: the
        // first one in the order of rows, whichever thread found it.
        std::vector<int64_t> kept, rows;
        for (size_t i = 0; i < job->failures.size(); ++i) {
          if (!job->failures[i]) {
            kept.push_back(static_cast<int64_t>(i));
            rows.push_back(job->request.rows[i]);
            continue;
          }
          if (!skip) std::rethrow_exception(job->failures[i]);
          const auto what = damage_of(job->failures[i]);
          if ((*damaged)++ < kNamed)
            spdlog::warn("event=image_left_out {}{}", what,
                         *damaged == kNamed ? " (further ones are only counted)" : "");
        }

        if (kept.size() == job->failures.size()) return std::move(job->batch);
        const auto index = at::tensor(kept, at::kLong);
        return ImageBatch{job->batch.x.index_select(0, index),
                          job->batch.labels.index_select(0, index), rows};
      });
}

}  // namespace dissent
