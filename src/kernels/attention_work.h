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
mx::array attention_fallback(const Work& work, const Arrays& in);

}  // namespace fovea::kernels
