#include "generate/reuse.h"

#include <algorithm>

#include "kernels/memory.h"
#include "mlx/transforms.h"

namespace fovea::generate {

Reuse::Reuse(const models::Model& model, BlockCache& cache, const Options& options)
    : model_(model),
      cache_(cache),
      options_(options),
      prefixes_(cache.kinds()),
      features_(options.feature_bytes) {
  cache.set_make_room([this] { return prefixes_.make_room(); });
}

void Reuse::survey(Request& request) const {
  const auto& media = request.prompt.media;
  const auto states = [&](const MediaSpan& span) { return model_.media_states(span) > 0; };
  request.has_states = std::any_of(media.begin(), media.end(), states);
  if (!options_.on || !options_.rows) return;
  request.keys = row_keys(request.prompt, request.contents, request.spans);
  request.scope = model_.prefix_scope(request.prompt);
  for (size_t i = 0; i < request.contents.size(); ++i) {
    // Rows may look at all states of the prompt's media.
    if (!states(media[i])) continue;
    request.scope += '|';
    for (const std::byte byte : request.contents[i]) request.scope += static_cast<char>(byte);
  }
}

PrefixBlocks Reuse::find_rows(const Request& request) {
  if (!options_.on || !options_.rows) return {};
  const bool bytes = cache_.in_bytes(0);
  const auto rows =
      request.generated.empty() ? request.prompt_length() : static_cast<int>(request.keys.size());
  auto found = prefixes_.find(request.scope, bytes, request.keys, rows - 1);
  // From the last span on: what there is before one may end within another.
  for (auto span = request.spans.rbegin(); span != request.spans.rend(); ++span) {
    if (span->begin < found.rows && found.rows < span->begin + span->count) {
      found = prefixes_.find(request.scope, bytes, request.keys, span->begin);
    }
  }
  return found;
}

void Reuse::leave_rows(Request& request, bool all) {
  if (!options_.on || !options_.rows || !request.started()) return;
  if (!options_.recompute_generated) {
    const size_t known = request.keys.size() - request.prompt.tokens.size();
    for (size_t i = known; i < request.generated.size(); ++i) {
      request.keys.push_back(key_of(request.generated[i]));
    }
  }
  prefixes_.insert(request.scope, request.keys, cache_.prefix(request.sequence), all);
}

mx::array Reuse::features(Request& request, size_t medium) {
  if (options_.on) {
    if (auto found = features_.find(request.contents[medium])) return *found;
  }
  const auto begin = Clock::now();
  auto features = models::media_features(model_, request.prompt.media[medium]);
  // The towers run now and not within the first chunk: their time is told apart, and their memory
  // is free again before the decoder asks for its own.
  mx::eval(features);
  kernels::trim_allocator_cache();
  request.vision_ms += std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  if (options_.on) features_.insert(request.contents[medium], features);
  return features;
}

}  // namespace fovea::generate
