#include "models/model.h"

#include "base/error.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::models {
namespace {

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

mx::array embed_prompt(const Model& model, const Prompt& prompt, int sequence, nn::KvCache& cache,
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
  std::vector<mx::array> all_features;
  int at = 0;
  const auto text_until = [&](int end) {
    const auto begin = static_cast<size_t>(at);
    if (end > at)
      parts.push_back(model.embed_tokens(tokens.subspan(begin, static_cast<size_t>(end - at))));
  };
  for (const auto& span : prompt.media) {
    const auto features = media_features(model, span);
    all_features.push_back(features);
    if (model.media_states(span) > 0) {
      mx::eval(features);  // or the scratch of all the pictures' towers would be there at once
      continue;
    }
    int taken = 0;
    for (const auto& [begin, count] : token_runs(span)) {
      text_until(begin);
      parts.push_back(mx::slice(features, {taken, 0}, {taken + count, features.shape(1)}));
      taken += count;
      at = begin + count;
    }
  }
  text_until(static_cast<int>(tokens.size()));
  model.keep_states(prompt, all_features, sequence, cache);
  auto embeds = mx::concatenate(parts, 0);
  const auto first = [&](const mx::array& rows) {
    return mx::slice(rows, {0, 0}, {rows.shape(0), model.info().hidden_size});
  };
  if (sink && !all_features.empty())
    sink("image_features", first(mx::concatenate(all_features, 0)));
  if (sink) sink("inputs_embeds", first(embeds));
  return embeds;
}

Positions consecutive_positions(int length, int axes) {
  const auto row = mx::reshape(mx::arange(length, mx::int32), {1, length});
  return {mx::broadcast_to(row, {axes, length}), 0};
}

}  // namespace fovea::models
