#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>

#include "base/error.h"
#include "base/thread_pool.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/embedded_model.h"
#include "cli/flag.h"
#include "cli/generate_report.h"
#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "cli/request_flags.h"
#include "cli/stage_dump.h"
#include "generate/engine.h"
#include "generate/opened_model.h"
#include "kernels/check.h"

namespace fovea::cli {
namespace {

struct Flags {
  std::optional<std::string> model;
  RequestFlags request;
  int max_kv_size = 0;
  int kv_bits = 0;
  int kv_group_size = 64;
  int quantized_kv_start = 0;
  int prefill_step_size = 0;
  std::optional<int> threads;
  bool json = false;
  bool verbose = false;
  bool check_kernels = false;
  bool estimate = false;
  std::optional<std::string> dump;
  std::string prefill = "bfloat16";
};

// What `work` gives; its time is added to `ms`, and a line tells what it is while it lasts, which
// `work` may change.
template <class Work>
auto timed(const char* what, double& ms, Work work) {
  using Clock = std::chrono::steady_clock;
  ProgressLine line(what);
  const auto begin = Clock::now();
  auto result = work(line);
  ms += std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return result;
}

// A kernel and its fallback that disagree are our own fault.
void report_checks() {
  const auto report = kernels::check_report();
  if (!report.first_mismatch) {
    std::fprintf(stderr, "fovea: kernels agree with their fallbacks in all of %d calls\n",
                 report.checked);
    return;
  }
  const auto& m = *report.first_mismatch;
  throw std::logic_error(
      fmt::format("[check-kernels] expected {} at index {} of {} to be {} but got {} ({} calls "
                  "checked)",
                  m.op, m.index, m.shape, m.fallback, m.kernel, report.checked));
}

// Everything of a request that its flags decide before a model is opened.
struct Request {
  SamplingParams params;
  ChatRequest chat;
  std::optional<StageDump> dump;
};

Request read_request(const Flags& flags) {
  Request request;
  if (flags.dump) request.dump.emplace(*flags.dump);
  request.params = sampling_params(flags.request);
  request.chat = chat_request(flags.request);
  return request;
}

// The prompt through an engine that ends before `answer`, which its thread writes to.
void ask(const Flags& flags, const generate::OpenedModel& opened,
         std::shared_ptr<const models::Model> model, Prompt prompt, Request& request,
         Answer& answer) {
  generate::EngineOptions options;
  options.prefill_step_size = flags.prefill_step_size;
  options.max_kv_size = flags.max_kv_size;
  options.kv_bits = flags.kv_bits;
  options.kv_group_size = flags.kv_group_size;
  options.quantized_kv_start = flags.quantized_kv_start;
  options.prefix_cache = false;  // nobody asks again
  options.turn_end_id = opened.processor().turn_end_id();
  options.generation_config = opened.checkpoint().generation_config;
  if (request.dump) options.stage_sink = request.dump->sink();
  generate::Engine engine(std::move(model), opened.processor().tokenizer(), std::move(options));
  hold_interrupts();
  const auto id = engine.submit(std::move(prompt), request.params,
                                [&](const Event& event) { answer.take(event); });
  answer.wait(interrupted, [&] { engine.cancel(id); });
}

void print_answer(const Flags& flags, const Answer& answer, const Report& report) {
  if (flags.json) {
    std::printf("%s\n", json_report(answer, report).c_str());
  } else {
    std::printf("\n");
  }
  // Standard output is the JSON object's alone.
  std::FILE* const notes = flags.json ? stderr : stdout;
  const bool cancelled = answer.finished.reason == FinishReason::kCancelled;
  if (flags.verbose || (cancelled && !flags.json)) print_statistics(notes, answer);
}

void generate(const Flags& flags) {
  watch_interrupts();
  if (flags.threads) ThreadPool::set_thread_count(*flags.threads);
  Request request = read_request(flags);
  Report report;
  double process_ms = 0;
  const auto opened = timed("Loading the model", report.load_ms, [&](ProgressLine&) {
    return generate::OpenedModel(flags.model ? *flags.model : embedded_model());
  });
  // Before the weights: a bad picture is told at once.
  Prompt prompt = timed("Reading the pictures", process_ms,
                        [&](ProgressLine&) { return opened.prompt(request.chat, request.params); });
  if (flags.estimate) {
    const auto estimate = opened.estimate(
        prompt, {request.params.max_tokens, flags.prefill_step_size, flags.max_kv_size,
                 flags.kv_bits, flags.kv_group_size, flags.quantized_kv_start});
    if (flags.json) return void(std::printf("%s\n", json_estimate(estimate).c_str()));
    return print_estimate(estimate);
  }
  auto model = timed("Loading the model", report.load_ms, [&](ProgressLine& line) {
    generate::LoadOptions options;
    options.with_media = !prompt.media.empty();
    if (flags.prefill == "int8") options.prefill = models::Prefill::kInt8;
    options.progress = [&](size_t done, size_t total) {
      line.set(fmt::format("Reading the weights from disk: {} of {} MB", done >> 20, total >> 20));
    };
    return opened.load(options, &report.prefill_bytes);
  });
  report.pictures = picture_usage(prompt);
  report.videos = video_usage(prompt);

  kernels::set_checks(flags.check_kernels);
  if (flags.verbose) {
    auto files = flags.request.images;
    files.insert(files.end(), flags.request.videos.begin(), flags.request.videos.end());
    print_heading(flags.json ? stderr : stdout, files, prompt);
    print_media(flags.json ? stderr : stdout, report);
  }
  std::fflush(stdout);
  Answer answer(flags.json ? nullptr : stdout);
  ask(flags, opened, std::move(model), std::move(prompt), request, answer);
  auto& timings = answer.finished.timings;
  timings.process_ms = process_ms;
  timings.prompt_ms += process_ms;

  print_answer(flags, answer, report);
  std::fflush(stdout);
  if (request.dump) request.dump->write();
  if (flags.check_kernels) report_checks();
  if (answer.finished.reason == FinishReason::kCancelled) {
    throw CLI::RuntimeError(exit_code(ErrorKind::kCancelled));
  }
}

}  // namespace

void add_generate_command(CLI::App& program) {
  auto* command = program.add_subcommand("generate", "Answer a prompt about pictures and videos");
  auto flags = std::make_shared<Flags>();
  add_text(*command, "--model", flags->model,
           "Checkpoint folder, or org/name in the Hugging Face cache [the embedded model]");
  add_request_flags(*command, flags->request);
  add_number(*command, kMaxKvSize, flags->max_kv_size,
             "Cache rows to keep: the first four and the newest; 0 keeps all");
  add_choice(*command, "--kv-bits", {0, 8}, flags->kv_bits,
             "Bits that cached keys and values are rounded to; 0 keeps them as the weights are");
  add_choice(*command, "--kv-group-size", {32, 64, 128}, flags->kv_group_size,
             "Elements that share a scale, with --kv-bits");
  add_number(*command, kQuantizedKvStart, flags->quantized_kv_start,
             "Cache rows from which on they are rounded, with --kv-bits");
  add_number(*command, kPrefillStepSize, flags->prefill_step_size,
             "Prompt tokens processed at once");
  add_choice(*command, "--prefill", {"bfloat16", "int8"}, flags->prefill,
             "How the decoder multiplies prompts: int8 is faster and takes a byte more a weight");
  add_number(*command, kThreads, flags->threads,
             "Threads for the kernels [FOVEA_THREADS, else the usable physical cores]");
  command->add_flag("--json", flags->json,
                    "Print one JSON object instead of text (docs/json-output.md)");
  command->add_flag("--verbose", flags->verbose,
                    "Print the prompt and statistics too; with --json on standard error");
  add_text(*command, "--dump", flags->dump, "Write DIR/stages.safetensors: intermediate arrays");
  command->add_flag("--check-kernels", flags->check_kernels,
                    "Compare every kernel call with its fallback (slow)");
  command->add_flag("--estimate", flags->estimate,
                    "Print what the answer would take of the memory, and read no weights");
  command->callback([flags] { generate(*flags); });
}

}  // namespace fovea::cli
