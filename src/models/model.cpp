#include "models/model.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/linear.h"

namespace fovea::models {
namespace {

mx::array media_pixels(const Prompt& prompt) {
  std::vector<mx::array> parts;
  for (const auto& span : prompt.media) {
    mx::Shape shape(span.pixels.shape.begin(), span.pixels.shape.end());
    parts.emplace_back(span.pixels.data.data(), shape, mx::float32);
  }
  return mx::concatenate(parts, 0);
}

mx::array media_grids(const Prompt& prompt) {
  std::vector<int> grids;
  for (const auto& span : prompt.media) {
    grids.insert(grids.end(), span.grid_thw.begin(), span.grid_thw.end());
  }
  return mx::array(grids.data(), {static_cast<int>(prompt.media.size()), 3}, mx::int32);
}

class WeightMemoryVisitor : public nn::PathVisitor {
 public:
  explicit WeightMemoryVisitor(const Model& model) : model_(model) {}

  void parameter(const std::string& name, mx::array& value) override {
    if (!value.is_available()) return;
    auto& part = model_.is_media_weight(full_name(name)) ? memory.media : memory.text;
    part.emplace_back(reinterpret_cast<const std::byte*>(value.data<char>()), value.nbytes());
  }

  void quantizable(nn::QuantizableWeight& weight) override {
    for (auto matrix : weight.matrices()) parameter("weight", matrix);
  }

  WeightMemory memory;

 private:
  const Model& model_;
};

}  // namespace

WeightMemory weight_memory(Model& model) {
  WeightMemoryVisitor visitor(model);
  model.visit(visitor);
  return std::move(visitor.memory);
}

mx::array media_features(const Model& model, const MediaSpan& span) {
  auto features = model.encode_media(span);
  const int states = model.media_states(span);
  const int wanted = states > 0 ? states : span.count;
  if (features.ndim() != 2 || features.shape(0) != wanted) {
    fail(ErrorKind::kInvalidData, "[model] expected {} features for the picture but got {}", wanted,
         features.shape(0));
  }
  return features;
}

mx::array embed_prompt(const Model& model, const Prompt& prompt, int begin,
                       const MediaFeatures& features, int sequence, nn::KvCache& cache,
                       const StageSink& sink) {
  const int tokens_end = model.info().vocab_size + model.info().extra_tokens;
  for (const int32_t token : prompt.tokens) {
    if (token < 0 || token >= tokens_end) {
      fail(ErrorKind::kInvalidData, "[model] expected token ids below {} but got {}", tokens_end,
           token);
    }
  }
  if (sink && !prompt.media.empty()) {
    sink("pixel_values", media_pixels(prompt));
    if (prompt.media[0].grid_thw[0] > 0) sink("image_grid_thw", media_grids(prompt));
  }
  const std::span<const int32_t> tokens(prompt.tokens);
  std::vector<mx::array> parts;
  std::vector<mx::array> taken_features;
  int at = begin;
  const auto text_until = [&](int end) {
    if (end <= at) return;
    const auto count = static_cast<size_t>(end - at);
    parts.push_back(model.embed_tokens(tokens.subspan(static_cast<size_t>(at), count)));
  };
  for (size_t i = 0; i < prompt.media.size(); ++i) {
    const auto& span = prompt.media[i];
    if (model.media_states(span) > 0) {
      taken_features.push_back(features(i));
      mx::eval(taken_features.back());  // or the scratch of all towers would be there at once
      continue;
    }
    const auto runs = token_runs(span);
    if (runs.back().begin + runs.back().count <= begin) continue;
    const auto all = features(i);
    taken_features.push_back(all);
    int taken = 0;
    for (const auto& [first, count] : runs) {
      text_until(first);
      const int skipped = std::clamp(begin - first, 0, count);
      if (skipped < count) {
        parts.push_back(mx::slice(all, {taken + skipped, 0}, {taken + count, all.shape(1)}));
        at = first + count;
      }
      taken += count;
    }
  }
  text_until(static_cast<int>(tokens.size()));
  model.keep_states(prompt, taken_features, sequence, cache);
  auto embeds =
      parts.empty() ? mx::zeros({0, model.info().hidden_size}) : mx::concatenate(parts, 0);
  const auto first = [&](const mx::array& rows) {
    return mx::slice(rows, {0, 0}, {rows.shape(0), model.info().hidden_size});
  };
  if (sink && !taken_features.empty()) {
    sink("image_features", first(mx::concatenate(taken_features, 0)));
  }
  if (sink) sink("inputs_embeds", first(embeds));
  return embeds;
}

mx::array embed_prompt(const Model& model, const Prompt& prompt, int sequence, nn::KvCache& cache,
                       const StageSink& sink) {
  const auto features = [&](size_t i) { return media_features(model, prompt.media[i]); };
  return embed_prompt(model, prompt, 0, features, sequence, cache, sink);
}

Positions consecutive_positions(int length, int axes) {
  const auto row = mx::reshape(mx::arange(length, mx::int32), {1, length});
  return {mx::broadcast_to(row, {axes, length}), 0};
}

}  // namespace fovea::models
