// The seam between attention blocks and whatever keeps keys and values. Engine thread only.
//
// Beside those of its rows, a sequence may have keys and values of media states: what an encoder
// made of its pictures, for layers with cross-attention (nn/cross_attention.h). They are given
// once, before its first step, and go with the sequence.
//
// Shapes: T rows of the step (all sequences packed), H query heads, K key/value heads, D head size,
// S media states of a sequence, U rows of the step that look at such states.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/prompt.h"
#include "kernels/attention.h"
#include "mlx/array.h"

namespace fovea::nn {

namespace mx = mlx::core;

// Rows [begin, begin + count) of a step continue `sequence` at its present length. The segments of
// a step cover its rows in order, without gaps; a sequence appears at most once.
struct Segment {
  int sequence = 0;
  int begin = 0;
  int count = 0;
  bool decode = false;  // rows of generated tokens (kernels/numerics.h), after all others
  // Rows of the segment, counted from its first, that see each other, later ones too.
  std::span<const TokenRun> spans = {};
};

// What a layer asks a cache to keep of each row.
struct KvLayer {
  int heads = 0;
  int head_dim = 0;
  mx::Dtype dtype = mx::float32;
  int window = 0;  // see AttentionSpec
  int chunk = 0;
};

struct AttentionSpec {
  float scale = 1;
  int window = 0;     // keys that a row sees, itself included; 0 means all before it
  float softcap = 0;  // logits -> softcap * tanh(logits / softcap); 0 is off
  // What keys and values are kept in: float32 for weights in float32 and under Numerics::kFloat32,
  // else bfloat16.
  mx::Dtype kv_dtype = mx::float32;
  int chunk = 0;                        // see kernels/attention.h, as the next one
  std::optional<mx::array> sinks = {};  // [H]
};

// From row `begin` of a sequence until the next view begins, rows see `states` of its media.
struct MediaView {
  int begin = 0;
  TokenRun states;
  bool blind = false;  // before any medium that they may see: what that means is the layer's to say
};

// Rows of a step that look at the same states of one sequence.
struct LookingRows {
  int sequence = 0;
  int begin = 0;  // among the step's rows
  int count = 0;
  bool decode = false;
  TokenRun states;
  bool blind = false;
};

// Adds those of a segment whose sequence has these views and had `rows` rows before it.
void add_looking_rows(std::span<const MediaView> views, const Segment& segment, int rows,
                      std::vector<LookingRows>& looking);

class KvCache {
 public:
  virtual ~KvCache() = default;

  // Appends k_TKD and v_TKD to their sequences in `layer` and returns the attention output
  // [T, H, D] of q_THD: row i of a segment sees the sequence's earlier keys and the segment's rows
  // up to i, or to the end of its span. Within one step every layer must be called once, in order.
  virtual mx::array attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                           const mx::array& v_TKD, std::span<const Segment> segments,
                           const AttentionSpec& spec) = 0;

  // Which states the rows of a new sequence see; views rise and the first begins with row 0. A
  // sequence without views has no media states.
  virtual void set_views(int sequence, std::vector<MediaView> views) = 0;

  // Keeps k_SKD and v_SKD for `layer`, counted among those that look across, before the sequence's
  // first step.
  virtual void keep_states(int layer, int sequence, const mx::array& k_SKD, const mx::array& v_SKD,
                           const AttentionSpec& spec) = 0;

  // The step's rows that have states to look at, in order. To be asked before the step's last
  // attend(), which moves sequences on.
  virtual std::vector<LookingRows> looking_rows(std::span<const Segment> segments) const = 0;

  // The attention output [U, H, D] of those rows of q_UHD, one behind the other, to what was kept
  // for `layer`.
  virtual mx::array attend_across(int layer, const mx::array& q_UHD,
                                  std::span<const LookingRows> looking,
                                  const AttentionSpec& spec) = 0;
};

}  // namespace fovea::nn
