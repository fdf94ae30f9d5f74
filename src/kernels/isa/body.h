// The generic text of the inner loops, included by one file per instruction set after it has
// defined `Vec`, a type of 8 float lanes with
//   zero, set1, load, load_partial(p, n), load_bf16, load_f16, load_bytes (8 unsigned bytes),
//   load_nibbles (8 unsigned 4-bit values), split<bits>(the first 8 values of a number), store,
//   store_partial(p, n), fma(a, b, c) = a * b + c rounded once, + - * /, max (the second operand
//   when they do not compare), round (to even), pow2 (2 to a whole number), lane_max, sum ((0+4) +
//   (2+6)) + ((1+5) + (3+7)), sums (of 4 vectors), and from_bf16, from_f16 of one value;
// `Vec16`, a type of 16 with zero to fma, the operators, max, round and pow2 of those, and
//   load of bfloat16 too, load_bytes (16 unsigned bytes), evens(p) and odds(p): every second of 32
//   bfloat16; kRows, kChunks: how many rows by chunks of 32 elements a tile can keep in registers;
//   fold(w) of 4 and finish(f, out) of 4 folded ones: their 16 sums; load_half(p, dtype, n) of n
//   16-bit floats and zeros; kPanelRows by kPanelVectors: the tile of prompt products that fits the
//   registers; transpose and interleave: 16 by 16 and kPanelRows by 16 numbers turned; lane_max;
//   and sum (lane i + lane i + 8, then as Vec has it);
// and the types that decode_body.h asks for.
// Included inside an anonymous namespace, so that every variant has code of its own.

// Asks for the cache line of an address, which need not be valid: into the first cache level for 3,
// the second for 2. By assembly where it can be, since g++ takes a function that does nothing but
// prefetch for one that does nothing, and drops it with all its callers.
template <int kLevel>
inline void fetch_line(const void* p) {
#if defined(__x86_64__)
  if constexpr (kLevel == 3) {
    asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
  } else {
    asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p)));
  }
#else
  __builtin_prefetch(p, 0, kLevel);
#endif
}

#include "kernels/isa/product_body.h"

#include "kernels/isa/decode_body.h"

#include "kernels/isa/elementwise_body.h"

#include "kernels/isa/panel_body.h"

#include "kernels/isa/attention_rows.h"

#include "kernels/isa/attention_body.h"

#include "kernels/isa/kv_bytes_body.h"

// What the processor reaches at best: multiply-adds of registers, enough of them in flight.
double fma_flops(size_t rounds, float* sink) {
  constexpr int kChains = 2 * Vec16::kRows;
  Vec16 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = Vec16::set1(static_cast<float>(i));
  const Vec16 factor = Vec16::set1(*sink);
  for (size_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = Vec16::fma(chains[i], factor, factor);
  }
  for (int i = 1; i < kChains; ++i) chains[0] = chains[0] + chains[i];
  chains[0].store_partial(sink, 1);
  return 2.0 * kLanes16 * kChains * static_cast<double>(rounds);
}

constexpr Table make_table(std::string_view name) {
  Table table;
  table.name = name;
  table.product = product;
  table.prompt_f32 = {kPanelRows,  kPanelColumns,      panel_block_bytes<FloatUnit>,
                      prepare_f32, prepare_turned_f32, panel_product<FloatUnit>};
  table.expand_row = expand_row;
  table.decode_row_bytes = decode_row_bytes;
  table.prepare_decode_row = prepare_decode_row;
  table.decode_product = decode_product;
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.attend = attend;
  table.attend_split = attend_split;
  table.merge_splits = merge_splits;
  table.quantize_kv = quantize_kv;
  table.round_to_bf16 = round_to_bf16;
  table.rotate = rotate;
  table.swiglu = swiglu;
  table.silu = silu;
  table.gelu_exact = gelu_exact;
  table.gelu_tanh = gelu_tanh;
  table.gelu_quick = gelu_quick;
  table.fma_flops = fma_flops;
  return table;
}
