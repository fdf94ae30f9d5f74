// A prompt in the engine, from submit to its last event. Engine thread only, but for `cancelled`.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/event.h"
#include "core/prompt.h"
#include "core/sampling_params.h"
#include "generate/cache/row_keys.h"
#include "generate/sampler.h"
#include "generate/stream.h"
#include "mlx/array.h"

namespace fovea::generate {

using RequestId = uint64_t;
using EventSink = std::function<void(const Event&)>;
using Clock = std::chrono::steady_clock;

struct Request {
  RequestId id = 0;
  Prompt prompt;
  int max_tokens = 0;
  Sampler sampler;
  TextStream stream;
  EventSink sink;
  std::atomic<bool> cancelled{false};

  std::vector<TokenRun> spans;  // of the prompt: no step cuts one

  // For finding rows that older requests left; nothing where none are looked for.
  std::vector<Sha256Bytes> contents;  // of its media
  std::vector<RowKey> keys;           // of prompt and answer
  std::string scope;                  // models::Model::prefix_scope, and what rows see beside

  bool has_states = false;  // that rows look at: given to each sequence anew

  // Filled when the request starts, which may be more than once.
  std::optional<mlx::core::array> inputs_embeds_LD;  // from row `embeds_begin` on
  int embeds_begin = 0;
  std::optional<mlx::core::array> position_ids_AL;
  int position_delta = 0;
  int sequence = -1;

  int rows_kept = 0;  // of prompt and answer, that the cache holds
  std::vector<int32_t> generated;
  int cached_tokens = 0;  // of the prompt, found when the request first started
  int prefilled = 0;      // of the prompt, computed or found

  bool started() const { return sequence >= 0; }

  Clock::time_point submitted = Clock::now();
  Clock::time_point first_token;
  double vision_ms = 0;

  Request(RequestId request_id, Prompt p, int max, Sampler s, TextStream t, EventSink e)
      : id(request_id),
        prompt(std::move(p)),
        max_tokens(max),
        sampler(std::move(s)),
        stream(std::move(t)),
        sink(std::move(e)) {}

  int prompt_length() const { return static_cast<int>(prompt.tokens.size()); }
};

}  // namespace fovea::generate
