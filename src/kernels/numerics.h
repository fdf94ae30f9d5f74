// Which rows a product is given, and so which of the two numerics it uses.
//
// Prompt rows (of a prompt, or of a picture): weights in bfloat16, or expanded to it, times
// activations rounded to bfloat16, summed in float32. Decode rows (of a generated token): quantised
// weights times activations of 8 bits, scaled by group, in exact integers that are summed in
// float32. Both orders of summation depend on the row's length and on how the weight is
// stored, so a row's bits do not depend on the rows beside it. float32 weights are exact in either,
// though summed in other orders.
// attention.h has its own two.
//
// Engine thread only.
#pragma once

namespace fovea::kernels {

enum class Numerics {
  kFast,      // as told above
  kBfloat16,  // decode rows are computed as prompt rows are: FOVEA_EXACT=1 in the environment
  kFloat32,   // activations and weights as they are: FOVEA_EXACT=2, and what parity tests use
};

// What products that are built from now on use; the environment decides at first, and another value
// there than 0, 1 or 2 is Error(kInvalidArgument).
void set_numerics(Numerics numerics);
Numerics numerics();

// While it lives, rows from `first` on of every product that is built are decode rows; without one
// all rows are prompt rows. Scopes nest; the innermost counts.
class DecodeRows {
 public:
  explicit DecodeRows(int first);
  ~DecodeRows();
  DecodeRows(const DecodeRows&) = delete;
  DecodeRows& operator=(const DecodeRows&) = delete;

 private:
  int outer_;
};

// The first decode row of a product of `rows` rows that is built now: `rows` when it has none.
int first_decode_row(int rows);

}  // namespace fovea::kernels
