// What the engine asks of a model family. A Model is immutable after loading; all calls come from
// the engine thread (they build MLX graphs). Implementations have no header of their own: each
// exports one factory that registry.cpp lists.
//
// Shapes: T rows of a step, V vocabulary, D hidden size, N tokens of one medium, L prompt length,
// A position axes (1, or 3 for M-RoPE), W width of an input row: D, or a multiple of it for
// families whose media bring features for several layers of the decoder, one behind the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "core/prompt.h"
#include "mlx/array.h"
#include "models/input_groups.h"
#include "models/mlx_layout.h"
#include "nn/kv_cache.h"
#include "nn/module.h"

namespace fovea::nn {
class Weights;
enum class Turned;
}  // namespace fovea::nn

namespace fovea::models {

namespace mx = mlx::core;

// What the engine must know to build caches and stop.
struct ModelInfo {
  std::string model_type;
  int vocab_size = 0;
  int context_length = 0;  // max_position_embeddings
  int num_layers = 0;
  int cross_layers = 0;  // of them, those that look at media states and not at the rows before them
  int extra_tokens = 0;  // ids behind the vocabulary, which prompts may have and answers have not
  int hidden_size = 0;
  int position_axes = 1;
  std::vector<int32_t> eos_token_ids;  // config.json and generation_config.json, united
};

// Position ids of a prompt and what continues them: the row at index i >= L has i + delta on
// every axis.
struct Positions {
  mx::array position_ids_AL;  // int32
  int delta = 0;
};

// One step of the engine: rows of all its sequences packed one after another.
struct Batch {
  mx::array inputs_embeds_TD;  // [T, W]
  mx::array position_ids_AT;   // int32
  std::span<const nn::Segment> segments;
  std::span<const int> logits_rows;  // rows whose logits are wanted, ascending
};

// Called with ("name", array) for every stage that `fovea generate --dump` writes; may be empty.
using StageSink = std::function<void(const std::string&, const mx::array&)>;

class Model : public nn::Module {
 public:
  virtual const ModelInfo& info() const = 0;

  // After loading: what a cache must keep for each layer that attends to the rows before it, in
  // order.
  virtual std::vector<nn::KvLayer> kv_layers() const = 0;

  // What beside the rows before it decides a row's keys, for whoever keeps those of one prompt for
  // another: prompts of different scopes share none.
  virtual std::string prefix_scope(const Prompt&) const { return {}; }

  // Before loading: renames a checkpoint's tensors to module paths, drops those that no model
  // reads, lays them out as the parameters are, and settles what only they can tell. The default
  // changes nothing.
  virtual void prepare_weights(nn::Weights&) {}

  // The decoder's layers, without embeddings and head: what reads a prompt.
  virtual void visit_layers(nn::Visitor&) {}

  // After loading: what a converter may scale, in the order in which forward() comes to it. None
  // where a family does not say.
  virtual std::vector<InputGroup> input_groups() const { return {}; }

  // What a converter must write otherwise than the modules have it.
  virtual MlxLayout mlx_layout() const { return {}; }

  // Whether the parameter of this full name is read for media alone.
  virtual bool is_media_weight(const std::string&) const { return false; }

  // Features [N, W] of one medium, N == span.count. Of one whose states layers look at: [S, D].
  virtual mx::array encode_media(const MediaSpan& span) const = 0;

  // S of a medium that the decoder looks at through cross-attention, its tokens keeping their own
  // embeddings; 0 where features take the places of tokens, as in most families.
  virtual int media_states(const MediaSpan&) const { return 0; }

  // Gives `cache` what a new sequence looks at, from encode_media()'s features of all the prompt's
  // media: for families with media_states().
  virtual void keep_states(const Prompt&, const std::vector<mx::array>&, int /*sequence*/,
                           nn::KvCache&) const {}

  // Token embeddings [T, W].
  virtual mx::array embed_tokens(std::span<const int32_t> tokens) const = 0;

  // Tokens that see each other, later ones too: runs that no step may cut, ascending. None for most
  // families.
  virtual std::vector<TokenRun> attention_spans(const Prompt&) const { return {}; }

  virtual Positions position_ids(const Prompt& prompt) const = 0;

  // Runs the decoder over the batch, extends `cache`, and returns logits [logits_rows, V] in
  // float32. `sink`, when not empty, is given hidden.i, the output of decoder layer i.
  virtual mx::array forward(const Batch& batch, nn::KvCache& cache,
                            const StageSink& sink = {}) const = 0;
};

// Features [N, W] or states [S, D] of the prompt's medium of this number, as encode_media() gives
// them.
using MediaFeatures = std::function<mx::array(size_t)>;

// encode_media() of a prompt's medium; an error when it is not as long as it should be.
mx::array media_features(const Model& model, const MediaSpan& span);

// Embeddings [L - begin, W] of the prompt from row `begin` on: tokens, with each medium's features
// in its span or, where layers look at its states, those in `cache` for `sequence`, which has
// `begin` rows. `features` is asked for the media that this takes, in order: all whose states rows
// look at. An error when a token is outside the vocabulary. `sink` is given pixel_values,
// image_grid_thw (where the family has grids), image_features and inputs_embeds, the last two D
// wide.
mx::array embed_prompt(const Model& model, const Prompt& prompt, int begin,
                       const MediaFeatures& features, int sequence, nn::KvCache& cache,
                       const StageSink& sink);

// Of the whole prompt, its media encoded now.
mx::array embed_prompt(const Model& model, const Prompt& prompt, int sequence, nn::KvCache& cache,
                       const StageSink& sink);

// Where the loaded parameters lie.
struct WeightMemory {
  std::vector<std::span<const std::byte>> media;  // those that are read for media alone
  std::vector<std::span<const std::byte>> text;   // all others
};
WeightMemory weight_memory(Model& model);

// Positions 0, 1, 2, ... on `axes` equal axes.
Positions consecutive_positions(int length, int axes);

// The family that config.json names, its parameters lazy zeros of the shapes that the config asks
// for; reads no file. Throws Error(kUnsupported) with the list of supported families for an unknown
// model_type, Error(kInvalidData) naming the key for values that make no model.
std::unique_ptr<Model> build_model(const Checkpoint& checkpoint);

// build_model() with the checkpoint's weights. Throws Error(kInvalidData) naming the key for a
// missing, unknown or misshapen weight.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint);
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, nn::Turned turned);

// What the layers of a loaded model multiply prompt rows in.
enum class Prefill {
  kBfloat16,  // as kernels/numerics.h tells
  kInt8,      // integers, with the weights once more in memory: kernels/int8_rows.h
};

// For kInt8, where processors without the instructions are Error(kUnsupported). Returns the bytes
// that were added.
size_t prepare_prefill(Model& model, Prefill prefill);

// Throws as build_model() does for an unknown model_type, and Error(kInvalidArgument) for one that
// answers no prompts, reading nothing else.
void require_supported(const Checkpoint& checkpoint);

// Whether the family turns speech into text (generate/speech/transcriber.h).
bool is_recogniser(const Checkpoint& checkpoint);

// What a model will say of itself in ModelInfo, from config.json alone.
struct TextLimits {
  int context_length = 0;
  int vocab_size = 0;
  // Of the keys of a media state in all layers that look at such, and as many of its values.
  int state_values = 0;
  int head_dim = 0;  // values of a key of one head
};
TextLimits read_text_limits(const Checkpoint& checkpoint);

// The families that this build knows, sorted by name.
std::vector<std::string> supported_model_types();

// What people are told of a family.
struct FamilyCard {
  std::string model_type;
  std::string parts;  // tower, connector and decoder
  std::string media;  // what a request may hold beside text
};
std::vector<FamilyCard> supported_families();

}  // namespace fovea::models
