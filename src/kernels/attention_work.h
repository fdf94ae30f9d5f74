// What the kernel of attention and its fallback work from; private to attention*.cpp.
#pragma once

#include <memory>
#include <vector>

#include "kernels/attention.h"
#include "kernels/block_attention.h"
#include "kernels/isa/isa.h"
#include "kernels/op.h"

namespace fovea::kernels {

// Queries that meet one stretch of keys. Blocks of keys are counted from the stretch's first key,
// so that a picture's bits do not depend on the pictures before it.
struct Stretch {
  int first_row;
  int first_key;
  std::vector<isa::KeyRange> seen;  // by each row, counted from first_key

  int rows() const { return static_cast<int>(seen.size()); }
};

struct Heads {
  int query;
  int key;
  int dim;
};

// Which axis of keys and values counts the heads; the other counts the keys.
enum class KeyAxes { kKeysFirst, kHeadsFirst };

struct Work {
  Heads heads;
  KeyAxes axes;
  std::vector<Stretch> stretches;
  AttentionOptions options;  // without its arrays, which are inputs
  int keys;                  // that rows may see, in all
  bool bf16;                 // products
  bool mask = false;         // input 3
  bool sinks = false;        // the last input
};

// Inputs are q, k and v, the mask and the sinks if there are any.
void run_attention(const Work& work, const Arrays& in, float* out);
mx::array attention_fallback(const Work& work, const Arrays& in);

// A step over blocks (block_attention.h), whose rows are in them.
struct BlockWork {
  Heads heads;
  BlockLayout layout;
  std::shared_ptr<const std::vector<BlockRun>> runs;
  std::vector<std::vector<isa::KeyRange>> seen;  // of each run, by each row
  std::vector<bool> bf16;                        // products of each run
  AttentionOptions options;                      // without its arrays
  bool sinks = false;                            // the last input
};

// Inputs are q, k, v and the sinks if there are any.
void run_block_attention(const BlockWork& work, const Arrays& in, float* out);

// Throws what causal_attention throws for shapes that do not fit.
Heads checked_heads(const mx::array& q, const mx::array& k, const mx::array& v, KeyAxes axes,
                    int kv_group_size);
// Throws where spans do not rise, or cut the last of `keys` keys.
void check_spans(const std::vector<PositionSpan>& spans, int keys);
// What the row at `position` sees.
isa::KeyRange causal_keys(int position, const AttentionOptions& options);
bool has_bf16_products(mx::Dtype k, mx::Dtype v, const AttentionOptions& options);
// Of the largest value, for products in bfloat16: two roundings of 2^-9, of which scores that weigh
// little make more.
inline constexpr float kBFloat16Tolerance = 2e-2f;
inline constexpr int kHeadDimMax = 256;

}  // namespace fovea::kernels
