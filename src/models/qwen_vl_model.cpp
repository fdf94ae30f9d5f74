#include "models/qwen_vl_model.h"

#include <algorithm>

#include "base/error.h"
#include "models/config.h"

namespace fovea::models {
namespace {

// Released (visual., model., lm_head.), newer (model.visual., model.language_model.) and MLX names.
std::string module_path(const std::string& name) {
  return replace_prefix(name, {{"visual.", "vision_tower."},
                               {"model.visual.", "vision_tower."},
                               {"model.language_model.", "language_model.model."},
                               {"model.", "language_model.model."},
                               {"lm_head.", "language_model.lm_head."}});
}

text::DecoderConfig with_deepstack(text::DecoderConfig config, const vision::GridTower& tower) {
  config.deepstack_layers = tower.deepstack_layers();
  return config;
}

}  // namespace

// Some checkpoints have the settings in both places.
Json qwen_vl_text_config(const Json& config) {
  const Json nested = config["text_config"];
  const bool at_root = config.contains("hidden_size") && !nested.contains("hidden_size");
  return nested.is_object() && !at_root ? nested : config;
}

text::DecoderConfig qwen_vl_decoder_config(const Checkpoint& checkpoint,
                                           const text::DecoderType& type) {
  const Json text = qwen_vl_text_config(checkpoint.config);
  auto config = text::read_decoder_config(checkpoint.config, text, type);
  if (config.rope.axes() != 3) {
    fail(ErrorKind::kInvalidData,
         "[{}] expected a list at 'rope_scaling.mrope_section' but there is none", text.where());
  }
  return config;
}

Positions mrope_positions(const Prompt& prompt, int merge, double tokens_per_second) {
  const auto length = static_cast<int>(prompt.tokens.size());
  std::vector<int> ids(static_cast<size_t>(3) * length);
  int next = 0;
  int at = 0;
  const auto put = [&](int t, int h, int w) {
    ids[at] = t;
    ids[length + at] = h;
    ids[2 * length + at] = w;
    ++at;
  };
  const auto text_until = [&](int end) {
    for (; at < end; ++next) put(next, next, next);
  };
  for (const auto& span : prompt.media) {
    const int rows = std::max(1, span.grid_thw[1] / merge);
    const int columns = std::max(1, span.grid_thw[2] / merge);
    const int frame = rows * columns;
    const bool timed = tokens_per_second > 0 && span.kind == MediaKind::kVideo;
    // In float32, as where the models were trained.
    const auto step = timed ? static_cast<float>(tokens_per_second * span.seconds_per_grid) : 1.0f;
    const auto time = [&](int group) { return static_cast<int>(static_cast<float>(group) * step); };
    for (const auto& run : token_runs(span)) {
      text_until(run.begin);
      for (int i = 0; i < run.count; ++i) {
        put(next + time(i / frame), next + i % frame / columns, next + i % columns);
      }
      next += std::max({time((run.count - 1) / frame) + 1, rows, columns});
    }
  }
  text_until(length);
  return {mx::array(ids.data(), {3, length}, mx::int32), next - length};
}

QwenVlModel::QwenVlModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
                         std::unique_ptr<vision::GridTower> tower, const std::string& out_key,
                         double tokens_per_second)
    : DecoderModel(checkpoint, with_deepstack(config, *tower)),
      tower_(std::move(tower)),
      tokens_per_second_(tokens_per_second) {
  if (tower_->out_size() != config.hidden_size) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected vision_config.{} {} as the decoder's but got {}", out_key,
         config.hidden_size, tower_->out_size());
  }
  if (tower_->deepstack_layers() > config.num_hidden_layers) {
    fail(ErrorKind::kInvalidData,
         "[config.json] expected at most {} 'vision_config.deepstack_visual_indexes', as many as "
         "the "
         "decoder has layers, but got {}",
         config.num_hidden_layers, tower_->deepstack_layers());
  }
}

void QwenVlModel::visit(nn::Visitor& visitor) {
  visitor.child("vision_tower", *tower_);
  visitor.child("language_model", decoder_);
}

WeightNames QwenVlModel::weight_names() const {
  return {module_path, "language_model.", "vision_tower.patch_embed.proj", tower_->in_channels()};
}

}  // namespace fovea::models
