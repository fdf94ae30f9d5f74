#include "generate/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "core/limits.h"
#include "generate/cache/contiguous_cache.h"
#include "generate/scheduler.h"
#include "kernels/memory.h"
#include "kernels/op.h"
#include "kernels/views.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::generate {
namespace {

double milliseconds(Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

void check_biases(const SamplingParams& params, int vocab_size) {
  for (const auto& [id, bias] : params.logit_bias) {
    if (id >= 0 && id < vocab_size) continue;
    fail(ErrorKind::kInvalidArgument, "[sampling] expected biases of tokens below {} but got {}",
         vocab_size, id);
  }
}

}  // namespace

void check_request(const Prompt& prompt, const SamplingParams& params,
                   const Json& generation_config, const models::TextLimits& limits) {
  const auto length = static_cast<int>(prompt.tokens.size());
  if (length == 0) fail(ErrorKind::kInvalidArgument, "[prompt] expected tokens but got none");
  require_within(kMaxTokens, params.max_tokens, "sampling", ErrorKind::kInvalidArgument);
  if (length >= limits.context_length) {
    fail(ErrorKind::kTooLarge, "[prompt] expected fewer than {} tokens but got {}",
         limits.context_length, length);
  }
  check_biases(params, limits.vocab_size);
  resolve_sampling(params, generation_config);
}

class Engine::Impl {
 public:
  Impl(std::shared_ptr<const models::Model> model,
       std::shared_ptr<const processors::Tokenizer> tokenizer, EngineOptions options)
      : model_(std::move(model)),
        tokenizer_(std::move(tokenizer)),
        options_(std::move(options)),
        scheduler_(options_.prefill_step_size),
        cache_({model_->info().num_layers - model_->info().cross_layers, options_.max_kv_size,
                options_.kv_bits, options_.kv_group_size, options_.quantized_kv_start}) {
    for (const int32_t id : model_->info().eos_token_ids) stop_ids_.insert(id);
    for (const int32_t id : tokenizer_->eos_token_ids()) stop_ids_.insert(id);
    if (options_.turn_end_id) stop_ids_.insert(*options_.turn_end_id);
    thread_ = std::thread([this] { run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      for (auto& request : live_) request->cancelled = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  RequestId submit(Prompt prompt, const SamplingParams& params, EventSink sink) {
    const auto& info = model_->info();
    check_request(prompt, params, options_.generation_config,
                  {info.context_length, info.vocab_size});
    const int room = info.context_length - static_cast<int>(prompt.tokens.size());
    Sampler sampler(resolve_sampling(params, options_.generation_config), prompt.tokens);
    TextStream stream(tokenizer_, params.stop);
    const std::lock_guard lock(mutex_);
    if (static_cast<int>(live_.size()) >= options_.requests_max) {
      fail(ErrorKind::kBusy, "[engine] expected fewer than {} requests at once but all are taken",
           options_.requests_max);
    }
    auto request =
        std::make_shared<Request>(++last_id_, std::move(prompt), std::min(params.max_tokens, room),
                                  std::move(sampler), std::move(stream), std::move(sink));
    live_.push_back(request);
    inbox_.push_back(request);
    wake_.notify_all();
    return request->id;
  }

  void cancel(RequestId id) {
    const std::lock_guard lock(mutex_);
    for (auto& request : live_) {
      if (request->id == id) request->cancelled = true;
    }
    wake_.notify_all();
  }

 private:
  void run() {
    while (take_inbox()) {
      drop_cancelled();
      if (!scheduler_.empty()) step(scheduler_.next_step());
    }
  }

  // Moves new requests to the scheduler, waiting while there is nothing to do; false at the end.
  bool take_inbox() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return ending_ || !inbox_.empty() || !scheduler_.empty(); });
    for (auto& request : inbox_) {
      request->spans = model_->attention_spans(request->prompt);
      scheduler_.add(std::move(request));
    }
    inbox_.clear();
    return !ending_ || !scheduler_.empty();
  }

  void drop_cancelled() {
    const auto requests = scheduler_.requests();
    for (const auto& request : requests) {
      if (!request->cancelled) continue;
      guard(*request, [&] { finish(*request, FinishReason::kCancelled); });
    }
  }

  // A step has one row for now, so whatever it throws is that row's failure.
  void step(const std::vector<StepRow>& rows) {
    for (const auto& row : rows) {
      guard(*row.request, [&] {
        if (row.prefill && row.begin == 0) start(*row.request);
        compute(row);
        deliver(row);
      });
    }
  }

  // What a request's own work throws ends that request.
  template <class Work>
  void guard(Request& request, Work work) {
    try {
      work();
    } catch (const Error& error) {
      end(request, Failed{error.kind(), error.what()});
    } catch (const std::exception& error) {
      end(request, Failed{ErrorKind::kIo, fmt::format("[engine] {}", error.what())});
    }
  }

  void start(Request& request) {
    const auto& sink = options_.stage_sink;
    request.sink(PrefillProgress{0, request.prompt_length()});
    request.sequence =
        cache_.add_sequence(expected_rows(request.prompt_length(), request.max_tokens));
    const auto begin = Clock::now();
    request.inputs_embeds_LD =
        models::embed_prompt(*model_, request.prompt, request.sequence, cache_, sink);
    if (!request.prompt.media.empty()) {
      // The towers run now and not within the first chunk: their time is told apart, and their
      // memory is free again before the decoder asks for its own.
      mx::eval(*request.inputs_embeds_LD);
      mx::eval(cache_.buffers());
      kernels::trim_allocator_cache();
      request.vision_ms = milliseconds(Clock::now() - begin);
    }
    const auto positions = model_->position_ids(request.prompt);
    request.position_ids_AL = positions.position_ids_AL;
    request.position_delta = positions.delta;
    if (!sink) return;
    const bool flat = model_->info().position_axes == 1;
    const auto& ids_AL = positions.position_ids_AL;
    sink("position_ids", flat ? mx::reshape(ids_AL, {-1}) : ids_AL);
  }

  mx::array embeds_of(const StepRow& row) const {
    const Request& request = *row.request;
    if (!row.prefill) return model_->embed_tokens(std::span(request.generated).last(1));
    const auto& all = *request.inputs_embeds_LD;
    return mx::slice(all, {row.begin, 0}, {row.begin + row.count, all.shape(1)});
  }

  mx::array positions_of(const StepRow& row) const {
    const Request& request = *row.request;
    const int axes = model_->info().position_axes;
    if (row.prefill) {
      return mx::slice(*request.position_ids_AL, {0, row.begin}, {axes, row.begin + row.count});
    }
    const int at = request.prompt_length() + static_cast<int>(request.generated.size()) - 1;
    return mx::full({axes, 1}, at + request.position_delta, mx::int32);
  }

  // The logits of the row's last token in logits_, for the sampler to change; none for the inner
  // chunks of a prompt.
  void compute(const StepRow& row) {
    // A generated token's work is too little to hand over piece by piece.
    std::optional<kernels::AtOnce> at_once;
    if (!row.prefill) at_once.emplace();
    std::vector<TokenRun> spans;  // counted from the row's first token
    for (const auto& [begin, count] : row.request->spans) {
      const bool inside = begin >= row.begin && begin < row.begin + row.count;
      if (row.prefill && inside) spans.push_back({begin - row.begin, count});
    }
    const nn::Segment segment{row.request->sequence, 0, row.count, !row.prefill, spans};
    const int last = row.count - 1;
    models::Batch batch{
        embeds_of(row), positions_of(row), {&segment, 1}, {&last, size_t{row.wants_logits}}};
    const auto& sink = options_.stage_sink;
    const auto logits = model_->forward(batch, cache_, row.prefill ? sink : models::StageSink());
    if (!row.wants_logits) {
      mx::eval(cache_.buffers());
      return;
    }
    mx::array flat =
        kernels::row_major(kernels::reshaped(logits, {static_cast<int>(logits.size())}));
    mx::eval(flat);
    if (sink && row.prefill) sink("logits", flat);
    logits_.assign(flat.data<float>(), flat.data<float>() + flat.size());
  }

  void deliver(const StepRow& row) {
    Request& request = *row.request;
    if (row.prefill) {
      request.prefilled += row.count;
      request.sink(PrefillProgress{request.prefilled, request.prompt_length()});
    }
    if (request.cancelled) return finish(request, FinishReason::kCancelled);
    if (!row.wants_logits) return;
    const int32_t id = request.sampler.sample(logits_);
    if (request.generated.empty()) {
      request.first_token = Clock::now();
      request.inputs_embeds_LD.reset();
      kernels::trim_allocator_cache();
    }
    request.generated.push_back(id);
    const bool stop = stop_ids_.contains(id);
    request.sink(TextDelta{stop ? "" : request.stream.add(id), {id}});
    if (stop || request.stream.stopped()) {
      finish(request, FinishReason::kStop);
    } else if (static_cast<int>(request.generated.size()) >= request.max_tokens) {
      finish(request, FinishReason::kLength);
    }
  }

  void finish(Request& request, FinishReason reason) {
    if (std::string rest = request.stream.finish(); !rest.empty()) {
      request.sink(TextDelta{std::move(rest), {}});
    }
    // The text that was held back may have completed a stop string.
    if (reason == FinishReason::kLength && request.stream.stopped()) reason = FinishReason::kStop;
    const auto now = Clock::now();
    const bool any = !request.generated.empty();
    Finished finished;
    finished.reason = reason;
    finished.usage = {request.prompt_length(), static_cast<int>(request.generated.size()), 0};
    auto& t = finished.timings;
    t.prompt_n = request.prefilled;
    t.prompt_ms = milliseconds((any ? request.first_token : now) - request.submitted);
    t.vision_ms = request.vision_ms;
    t.predicted_n = static_cast<int>(request.generated.size());
    t.predicted_ms = any ? milliseconds(now - request.first_token) : 0;
    // The first token belongs to the prompt's time.
    if (t.predicted_n > 1) t.predicted_per_second = 1000 * (t.predicted_n - 1) / t.predicted_ms;
    end(request, finished);
  }

  // Nothing when the request has ended already: its sink may throw at its last event too.
  void end(Request& request, const Event& event) {
    const auto keep = take_live(request.id);
    if (!keep) return;
    if (request.sequence >= 0) cache_.remove_sequence(request.sequence);
    scheduler_.remove(request);
    try {
      keep->sink(event);
    } catch (...) {
      // Nobody is left to tell.
    }
  }

  std::shared_ptr<Request> take_live(RequestId id) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(live_.begin(), live_.end(), [&](const auto& r) { return r->id == id; });
    if (found == live_.end()) return nullptr;
    auto request = *found;
    live_.erase(found);
    return request;
  }

  std::shared_ptr<const models::Model> model_;
  std::shared_ptr<const processors::Tokenizer> tokenizer_;
  EngineOptions options_;
  std::set<int32_t> stop_ids_;
  Scheduler scheduler_;
  ContiguousCache cache_;
  std::vector<float> logits_;  // of the row at hand; kept, since fresh pages cost more than copying

  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  RequestId last_id_ = 0;
  std::vector<std::shared_ptr<Request>> inbox_;
  std::vector<std::shared_ptr<Request>> live_;  // accepted and not ended
  std::thread thread_;
};

Engine::Engine(std::shared_ptr<const models::Model> model,
               std::shared_ptr<const processors::Tokenizer> tokenizer, EngineOptions options)
    : impl_(std::make_unique<Impl>(std::move(model), std::move(tokenizer), std::move(options))) {}
Engine::~Engine() = default;

RequestId Engine::submit(Prompt prompt, const SamplingParams& params, EventSink sink) {
  return impl_->submit(std::move(prompt), params, std::move(sink));
}

void Engine::cancel(RequestId id) { impl_->cancel(id); }

}  // namespace fovea::generate
