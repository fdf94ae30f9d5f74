// The seam between attention blocks and whatever keeps keys and values: a contiguous buffer per
// sequence today, the block pool of continuous batching later. Engine thread only.
//
// Shapes: T rows of the step (all sequences packed), H query heads, K key/value heads, D head size.
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

class KvCache {
 public:
  virtual ~KvCache() = default;

  // Appends k_TKD and v_TKD to their sequences in `layer` and returns the attention output
  // [T, H, D] of q_THD: row i of a segment sees the sequence's earlier keys and the segment's rows
  // up to i, or to the end of its span. Within one step every layer must be called once, in order.
  virtual mx::array attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                           const mx::array& v_TKD, std::span<const Segment> segments,
                           const AttentionSpec& spec) = 0;
};

}  // namespace fovea::nn
