// What the kernel of attention and its fallback work from; private to attention*.cpp.
#pragma once

#include <vector>

#include "kernels/attention.h"
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
// Several at once, of queries in[0][0] and no mask; works[i] has keys, values and sinks of in[i].
// All have the heads of the first and its kind of products.
void run_attention(const std::vector<Work>& works, const std::vector<Arrays>& in, float* out);
mx::array attention_fallback(const Work& work, const Arrays& in);

// Throws what causal_attention throws for shapes that do not fit.
Heads checked_heads(const mx::array& q, const mx::array& k, const mx::array& v, KeyAxes axes,
                    int kv_group_size);
// What the row at `position` sees.
isa::KeyRange causal_keys(int position, const AttentionOptions& options);
bool has_bf16_products(const mx::array& k, const mx::array& v, const AttentionOptions& options);

}  // namespace fovea::kernels
