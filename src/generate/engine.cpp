#include "generate/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "core/limits.h"
#include "generate/cache/block_cache.h"
#include "generate/memory_estimate.h"
#include "generate/reuse.h"
#include "generate/scheduler.h"
#include "generate/step_batch.h"
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

// Where older rows leave or change in the step that finds too many, a step's size shows.
bool has_fixed_steps(const EngineOptions& options) {
  return options.max_kv_size > 0 || (options.kv_bits > 0 && options.quantized_kv_start > 0);
}

// Half of what is free, where nobody says.
int64_t kv_cache_bytes(const EngineOptions& options) {
  if (options.kv_cache_bytes > 0) return options.kv_cache_bytes;
  return available_memory().value_or(0) / 2;
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
        scheduler_({options_.prefill_step_size, options_.sequences_max, has_fixed_steps(options_)}),
        cache_({model_->kv_layers(), options_.max_kv_size, options_.kv_bits, options_.kv_group_size,
                options_.quantized_kv_start, kv_cache_bytes(options_)}),
        reuse_(*model_, cache_,
               {options_.prefix_cache && !options_.stage_sink, !has_fixed_steps(options_),
                options_.recompute_generated, options_.vision_cache_bytes}) {
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
    require_room();
    std::vector<Sha256Bytes> contents;
    for (const auto& span : prompt.media) {
      if (reuse_.on()) contents.push_back(content_hash(span));
    }
    const std::lock_guard lock(mutex_);
    require_room_locked();
    auto request =
        std::make_shared<Request>(++last_id_, std::move(prompt), std::min(params.max_tokens, room),
                                  std::move(sampler), std::move(stream), std::move(sink));
    request->contents = std::move(contents);
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

  EngineStatus status() {
    const std::lock_guard lock(mutex_);
    return told_status_;
  }

 private:
  void require_room() {
    const std::lock_guard lock(mutex_);
    require_room_locked();
  }

  void require_room_locked() const {
    if (static_cast<int>(live_.size()) < options_.requests_max) return;
    fail(ErrorKind::kBusy, "[engine] expected fewer than {} requests at once but all are taken",
         options_.requests_max);
  }

  void run() {
    while (take_inbox()) {
      drop_cancelled();
      start_waiting();
      if (const auto rows = scheduler_.next_step(); !rows.empty()) step(rows);
      tell_status();
    }
  }

  void tell_status() {
    status_.waiting = status_.running = 0;
    for (const auto& request : scheduler_.requests()) {
      ++(request->started() ? status_.running : status_.waiting);
    }
    status_.kv_bytes = cache_.bytes_in_use();
    status_.kv_bytes_max = cache_.bytes_max();
    status_.cached_rows = reuse_.rows();
    status_.feature_bytes = reuse_.feature_bytes();
    const std::lock_guard lock(mutex_);
    told_status_ = status_;
  }

  // Moves new requests to the scheduler, waiting while there is nothing to do; false at the end.
  bool take_inbox() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return ending_ || !inbox_.empty() || !scheduler_.empty(); });
    const auto arrived = std::exchange(inbox_, {});
    const bool going_on = !ending_ || !arrived.empty() || !scheduler_.empty();
    lock.unlock();
    for (const auto& request : arrived) {
      scheduler_.add(request);
      guard(*request, [&] {
        request->spans = model_->attention_spans(request->prompt);
        reuse_.survey(*request);
      });
    }
    return going_on;
  }

  void drop_cancelled() {
    const auto requests = scheduler_.requests();
    for (const auto& request : requests) {
      if (!request->cancelled) continue;
      guard(*request, [&] { finish(*request, FinishReason::kCancelled); });
    }
  }

  // All that may run now, but for media: those of one request between two steps.
  void start_waiting() {
    bool media = false;
    while (const auto request = scheduler_.next_to_start()) {
      if (media && !request->prompt.media.empty()) return;
      media = media || !request->prompt.media.empty();
      guard(*request, [&] { start(*request); });
    }
  }

  // A step that fails is taken row by row: only what fails alone has failed.
  void step(const std::vector<StepRow>& rows) {
    const auto begin = Clock::now();
    try {
      compute(rows);
    } catch (const NoRoom&) {
      cache_.abandon_step();
      return give_way(*rows.back().request);
    } catch (...) {
      cache_.abandon_step();
      if (rows.size() > 1) {
        // Those that have not given way to one before them.
        for (const auto& row : rows) {
          if (row.request->started()) step({row});
        }
        return;
      }
      guard(*rows[0].request, [] { throw; });
      return;
    }
    ++status_.steps;
    for (const auto& row : rows) {
      (row.prefill ? status_.prompt_rows : status_.generated_rows) += row.count;
    }
    scheduler_.took(rows, milliseconds(Clock::now() - begin) / 1000);
    int at = 0;  // among the logits
    for (const auto& row : rows) {
      const int of_row = row.wants_logits ? at++ : -1;
      guard(*row.request, [&] { deliver(row, of_row); });
    }
    logits_.reset();
  }

  // What a request's own work throws ends that request.
  template <class Work>
  void guard(Request& request, Work work) {
    try {
      work();
    } catch (const NoRoom&) {
      give_way(request);
    } catch (const Error& error) {
      end(request, Failed{error.kind(), error.what()});
    } catch (const std::exception& error) {
      end(request, Failed{ErrorKind::kIo, fmt::format("[engine] {}", error.what())});
    } catch (...) {
      end(request, Failed{ErrorKind::kIo, "[engine] expected an exception that says what it is"});
    }
  }

  // There was no room for the keys and values of `request`: another waits, or it does.
  void give_way(Request& request) {
    const auto waiting = scheduler_.make_one_wait(request);
    if (waiting) return begin_anew(*waiting);
    end(request,
        Failed{ErrorKind::kTooLarge,
               fmt::format("[cache] expected keys and values of {} tokens to fit {} bytes "
                           "but they do not",
                           request.prompt_length() + static_cast<int>(request.generated.size()),
                           cache_.bytes_max())});
  }

  void begin_anew(Request& request) {
    if (!request.started()) return;
    ++status_.begun_anew;
    reuse_.leave_rows(request, true);
    cache_.remove_sequence(request.sequence);
    request.sequence = -1;
    request.rows_kept = 0;
    request.inputs_embeds_LD.reset();
  }

  // With rows that older requests left, whose number this returns; without them where there is no
  // room for the copy that they take.
  int begin_sequence(Request& request) {
    try {
      const auto found = reuse_.find_rows(request);
      request.sequence = cache_.add_sequence(found);
      return found.rows;
    } catch (const NoRoom&) {
      request.sequence = cache_.add_sequence();
      return 0;
    }
  }

  void start(Request& request) {
    const auto& sink = options_.stage_sink;
    const bool first_time = request.prefilled == 0;
    if (first_time) request.sink(PrefillProgress{0, request.prompt_length()});
    request.rows_kept = begin_sequence(request);
    request.embeds_begin = std::min(request.rows_kept, request.prompt_length());
    request.prefilled = std::max(request.prefilled, request.embeds_begin);
    if (first_time) {
      request.cached_tokens = request.embeds_begin;
      status_.cached_tokens += request.embeds_begin;
    }
    if (request.embeds_begin < request.prompt_length() || request.has_states) {
      request.inputs_embeds_LD = models::embed_prompt(
          *model_, request.prompt, request.embeds_begin,
          [&](size_t medium) { return reuse_.features(request, medium); }, request.sequence, cache_,
          sink);
      mx::eval(cache_.states());
    }
    const auto positions = model_->position_ids(request.prompt);
    request.position_ids_AL = positions.position_ids_AL;
    request.position_delta = positions.delta;
    if (!sink) return;
    const bool flat = model_->info().position_axes == 1;
    const auto& ids_AL = positions.position_ids_AL;
    sink("position_ids", flat ? mx::reshape(ids_AL, {-1}) : ids_AL);
  }

  // The logits of the rows that want them, in logits_.
  void compute(const std::vector<StepRow>& rows) {
    // A generated token's work is too little to hand over piece by piece.
    std::optional<kernels::AtOnce> at_once;
    if (!rows.front().prefill) at_once.emplace();
    const StepBatch step(*model_, rows);
    const auto sink = step.has_prompts() ? options_.stage_sink : models::StageSink();
    logits_ = kernels::row_major(model_->forward(step.batch(), cache_, sink));
    mx::eval({*logits_, cache_.step_output()});
    cache_.keep_step();
    if (sink && logits_->size() > 0) {
      sink("logits", mx::reshape(*logits_, {static_cast<int>(logits_->size())}));
    }
  }

  // What a row has led to; `of_row` is where its logits are, where it wants some.
  void deliver(const StepRow& row, int of_row) {
    Request& request = *row.request;
    const int before = request.rows_kept;
    request.rows_kept += row.count;
    if (row.prefill) {
      request.prefilled = std::max(request.prefilled, request.rows_kept);
      if (request.rows_kept >= request.prompt_length()) {
        request.inputs_embeds_LD.reset();
        kernels::trim_allocator_cache();
      }
      if (request.generated.empty()) {
        request.sink(PrefillProgress{request.prefilled, request.prompt_length()});
      }
    }
    if (before / kernels::kBlockRows != request.rows_kept / kernels::kBlockRows) {
      reuse_.leave_rows(request, false);
    }
    if (request.cancelled) return finish(request, FinishReason::kCancelled);
    if (of_row < 0) return;
    const auto vocabulary = static_cast<size_t>(logits_->shape(-1));
    const float* of_token = logits_->data<float>() + static_cast<size_t>(of_row) * vocabulary;
    row_logits_.assign(of_token, of_token + vocabulary);
    const int32_t id = request.sampler.sample(row_logits_);
    if (request.generated.empty()) request.first_token = Clock::now();
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
    finished.usage = {request.prompt_length(), static_cast<int>(request.generated.size()),
                      request.cached_tokens};
    auto& t = finished.timings;
    t.prompt_n = request.prefilled - request.cached_tokens;
    t.prompt_ms = milliseconds((any ? request.first_token : now) - request.submitted);
    t.vision_ms = request.vision_ms;
    t.predicted_n = static_cast<int>(request.generated.size());
    t.predicted_ms = any ? milliseconds(now - request.first_token) : 0;
    // The first token belongs to the prompt's time.
    if (t.predicted_n > 1) t.predicted_per_second = 1000 * (t.predicted_n - 1) / t.predicted_ms;
    reuse_.leave_rows(request, true);
    end(request, finished);
  }

  // Nothing when the request has ended already: its sink may throw at its last event too.
  void end(Request& request, const Event& event) {
    const auto keep = take_live(request.id);
    if (!keep) return;
    if (request.started()) cache_.remove_sequence(request.sequence);
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
  BlockCache cache_;
  Reuse reuse_;                      // nothing where stages are to be seen
  std::optional<mx::array> logits_;  // [R, V] of the step's rows that want them
  std::vector<float> row_logits_;    // one's; kept, since fresh pages cost more than copying

  EngineStatus status_;

  std::mutex mutex_;
  EngineStatus told_status_;
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

EngineStatus Engine::status() const { return impl_->status(); }

}  // namespace fovea::generate
