// What every family around one text decoder does alike. Families derive from it and add their
// tower, their connector and, where they differ, their positions. Made by the thread that
// loads, then the engine's.
#pragma once

#include <string>

#include "models/model.h"
#include "models/names.h"
#include "models/text/decoder.h"

namespace fovea::models {

// How a family's checkpoints name what its modules hold.
struct WeightNames {
  NameRule module_path;              // from a checkpoint's name; empty where no model reads it
  std::string decoder;               // module path of the decoder, with its dot, or empty
  std::string patch_embedding = {};  // module path of the convolution that is run as a product,
  int patch_channels = 0;            // and its inputs
};

class DecoderModel : public Model {
 public:
  const ModelInfo& info() const override { return info_; }
  std::vector<nn::KvLayer> kv_layers() const override { return decoder_.kv_layers(); }
  std::string prefix_scope(const Prompt& prompt) const override;
  mx::array embed_tokens(std::span<const int32_t> tokens) const override;
  // 0, 1, 2, ... on every axis, but for what longrope asks for (nn/rope.h).
  Positions position_ids(const Prompt& prompt) const override;
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const override;
  void prepare_weights(nn::Weights& weights) override;
  void visit_layers(nn::Visitor& visitor) override { decoder_.visit_layers(visitor); }
  std::vector<InputGroup> input_groups() const override;
  bool is_media_weight(const std::string& name) const override;

 protected:
  DecoderModel(const Checkpoint& checkpoint, const text::DecoderConfig& config);

  virtual WeightNames weight_names() const = 0;

  text::Decoder decoder_;
  ModelInfo info_;

 private:
  void settle_head(nn::Weights& weights, const std::string& decoder);
};

}  // namespace fovea::models
