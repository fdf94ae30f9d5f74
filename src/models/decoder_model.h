// What every family around one text decoder does alike. Families derive from it and add their
// tower, their connector and, where they differ, their positions. Engine thread only.
#pragma once

#include "models/model.h"
#include "models/text/decoder.h"

namespace fovea::models {

class DecoderModel : public Model {
 public:
  const ModelInfo& info() const override { return info_; }
  mx::array embed_tokens(std::span<const int32_t> tokens) const override;
  // 0, 1, 2, ... on one axis.
  Positions position_ids(const Prompt& prompt) const override;
  mx::array forward(const Batch& batch, nn::KvCache& cache, const StageSink& sink) const override;

 protected:
  // `text_config` is the JSON that `config` was read from.
  DecoderModel(const Checkpoint& checkpoint, const text::DecoderConfig& config,
               const Json& text_config);

  text::Decoder decoder_;
  ModelInfo info_;
};

}  // namespace fovea::models
