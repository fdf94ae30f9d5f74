#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/embedded_model.h"
#include "cli/progress_line.h"
#include "cli/request_flags.h"
#include "cli/stage_dump.h"
#include "generate/engine.h"
#include "kernels/check.h"
#include "kernels/memory.h"
#include "processors/processor.h"

namespace fovea::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kAllocatorCacheBytes = size_t{1} << 30;

struct Flags {
  std::string model;
  RequestFlags request;
  int max_kv_size = 0;
  int prefill_step_size = 2048;
  int threads = 0;
  bool json = false;
  bool verbose = false;
  bool check_kernels = false;
  std::string dump;
};

volatile std::sig_atomic_t interrupted = 0;

// A second Ctrl-C ends the process as usual.
void on_interrupt(int) {
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);
}

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

int64_t peak_resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// What the engine told about the request; the engine thread writes, the command waits.
class Answer {
 public:
  Answer(bool streams, ProgressLine* progress) : streams_(streams), progress_(progress) {}

  void take(const Event& event) {
    std::visit([this](const auto& e) { on(e); }, event);
  }

  // Waits for the end; calls `cancel` once when Ctrl-C was pressed.
  template <class Cancel>
  void wait(Cancel cancel) {
    std::unique_lock lock(mutex_);
    bool told = false;
    while (!done_.wait_for(lock, std::chrono::milliseconds(50), [&] { return ended_; })) {
      if (!interrupted || told) continue;
      told = true;
      lock.unlock();
      cancel();
      lock.lock();
    }
    if (failed_) throw Error(failed_->kind, failed_->message);
  }

  std::string text;
  std::vector<int32_t> token_ids;
  Finished finished;

 private:
  void on(const PrefillProgress& p) {
    if (p.done < p.total) progress_->set(fmt::format("Reading the prompt {}/{}", p.done, p.total));
  }
  void on(const TextDelta& delta) {
    text += delta.text;
    token_ids.insert(token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
    if (!streams_ || delta.text.empty()) return;
    std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
    std::fflush(stdout);
  }
  void on(const Finished& f) {
    finished = f;
    end();
  }
  void on(const Failed& f) {
    failed_ = f;
    end();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    done_.notify_all();
  }

  bool streams_;
  ProgressLine* progress_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool ended_ = false;
  std::optional<Failed> failed_;
};

struct Report {
  std::vector<MediaSpan> pictures;  // sizes only
  double load_ms = 0;
};

JsonObject size_object(Size size) {
  JsonObject object;
  object.set("width", size.width).set("height", size.height);
  return object;
}

JsonArray picture_list(const Report& report) {
  JsonArray list;
  for (const auto& span : report.pictures) {
    JsonObject picture;
    picture.set("original_size", size_object(span.original))
        .set("used_size", size_object(span.used))
        .set("tokens", span.count);
    list.push(picture);
  }
  return list;
}

void print_json(const Answer& answer, const Report& report) {
  const auto& [reason, usage, timings] = answer.finished;
  JsonArray ids;
  for (const int32_t id : answer.token_ids) ids.push(int64_t{id});
  JsonObject used;
  used.set("prompt_tokens", usage.prompt_tokens)
      .set("completion_tokens", usage.completion_tokens)
      .set("total_tokens", usage.prompt_tokens + usage.completion_tokens)
      .set("cached_tokens", usage.cached_tokens);
  JsonObject times;
  times.set("prompt_n", timings.prompt_n)
      .set("prompt_ms", timings.prompt_ms)
      .set("predicted_n", timings.predicted_n)
      .set("predicted_ms", timings.predicted_ms)
      .set("predicted_per_second", timings.predicted_per_second)
      .set("load_ms", report.load_ms)
      .set("peak_memory", peak_resident_bytes());
  JsonObject object;
  object.set("text", answer.text)
      .set("token_ids", ids)
      .set("finish_reason", to_string(reason))
      .set("usage", used)
      .set("timings", times)
      .set("images", picture_list(report));
  std::printf("%s\n", object.dump().c_str());
}

void print_heading(const Flags& flags, const Prompt& prompt) {
  std::printf("==========\nFiles: %s\n\nPrompt: %s\n",
              fmt::format("[{}]", fmt::join(flags.request.images, ", ")).c_str(),
              prompt.text.c_str());
}

void print_statistics(const Answer& answer) {
  const auto& t = answer.finished.timings;
  const auto rate = [](double n, double ms) { return ms > 0 ? n * 1000 / ms : 0; };
  if (answer.text.empty()) std::printf("No text generated for this prompt\n");
  std::printf("==========\nPrompt: %d tokens, %.3f tokens-per-sec\n", t.prompt_n,
              rate(t.prompt_n, t.prompt_ms));
  std::printf("Generation: %d tokens, %.3f tokens-per-sec\n", t.predicted_n,
              t.predicted_per_second);
  std::printf("Peak memory: %.3f GB\n", static_cast<double>(peak_resident_bytes()) / 1e9);
}

// Throws when a kernel and its fallback disagreed.
void report_checks() {
  const auto report = kernels::check_report();
  if (!report.first_mismatch) {
    std::fprintf(stderr, "fovea: kernels agree with their fallbacks in all of %d calls\n",
                 report.checked);
    return;
  }
  const auto& m = *report.first_mismatch;
  fail(ErrorKind::kIo,
       "[check-kernels] expected {} at index {} of {} to be {} but got {} ({} calls checked)", m.op,
       m.index, m.shape, m.fallback, m.kernel, report.checked);
}

Report report_of(const Prompt& prompt, double load_ms) {
  Report report{{}, load_ms};
  for (const auto& span : prompt.media) {
    MediaSpan sizes;
    sizes.count = span.count;
    sizes.original = span.original;
    sizes.used = span.used;
    report.pictures.push_back(std::move(sizes));
  }
  return report;
}

void generate(const Flags& flags) {
  if (flags.threads > 0) ThreadPool::set_thread_count(flags.threads);
  std::optional<StageDump> dump;
  if (!flags.dump.empty()) dump.emplace(flags.dump);
  const SamplingParams params = sampling_params(flags.request);
  ProgressLine progress("Loading the model");
  const ChatRequest request = chat_request(flags.request);
  kernels::set_allocator_cache(kAllocatorCacheBytes);

  auto begin = Clock::now();
  const Checkpoint checkpoint =
      open_checkpoint(flags.model.empty() ? embedded_model() : flags.model);
  models::require_supported(checkpoint);
  const processors::Processor processor(checkpoint);
  double load_ms = milliseconds_since(begin);
  // Before the weights: a bad picture is told at once.
  begin = Clock::now();
  Prompt prompt = processor.process(request);
  const double process_ms = milliseconds_since(begin);
  begin = Clock::now();
  const std::shared_ptr<const models::Model> model = models::load_model(checkpoint);
  load_ms += milliseconds_since(begin);
  const Report report = report_of(prompt, load_ms);

  kernels::set_checks(flags.check_kernels);
  generate::EngineOptions options;
  options.prefill_step_size = flags.prefill_step_size;
  options.max_kv_size = flags.max_kv_size;
  options.generation_config = checkpoint.generation_config;
  if (dump) options.stage_sink = dump->sink();
  generate::Engine engine(model, processor.tokenizer(), std::move(options));

  if (flags.verbose) print_heading(flags, prompt);
  Answer answer(!flags.json, &progress);
  std::signal(SIGINT, on_interrupt);
  const auto id =
      engine.submit(std::move(prompt), params, [&](const Event& event) { answer.take(event); });
  answer.wait([&] { engine.cancel(id); });
  answer.finished.timings.prompt_ms += process_ms;

  if (dump) dump->write();
  if (flags.json) {
    print_json(answer, report);
  } else {
    std::printf("\n");
    if (flags.verbose || interrupted) print_statistics(answer);
  }
  std::fflush(stdout);
  if (flags.check_kernels) report_checks();
  if (interrupted) throw CLI::RuntimeError(exit_code(ErrorKind::kCancelled));
}

}  // namespace

void add_generate_command(CLI::App& program) {
  auto* command = program.add_subcommand("generate", "Answer a prompt about pictures");
  auto flags = std::make_shared<Flags>();
  command->add_option(
      "--model", flags->model,
      "Checkpoint folder, or org/name in the Hugging Face cache [the embedded model]");
  add_request_flags(*command, flags->request);
  command
      ->add_option("--max-kv-size", flags->max_kv_size,
                   "Cache rows to keep: the first four and the newest; 0 keeps all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  command
      ->add_option("--prefill-step-size", flags->prefill_step_size,
                   "Prompt tokens processed at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--threads", flags->threads, "Threads for the kernels [all processors]")
      ->check(CLI::Range(1, 256));
  command->add_flag("--json", flags->json, "Print one JSON object instead of text");
  command->add_flag("--verbose", flags->verbose, "Print the prompt and statistics too");
  command->add_option("--dump", flags->dump, "Write DIR/stages.safetensors: intermediate arrays");
  command->add_flag("--check-kernels", flags->check_kernels,
                    "Compare every kernel call with its fallback (slow)");
  command->callback([flags] { generate(*flags); });
}

}  // namespace fovea::cli
