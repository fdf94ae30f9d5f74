#include "kernels/decode_attention.h"

#include <gtest/gtest.h>

#include "kernels/append_rows.h"
#include "kernels/kv_bytes.h"
#include "kernels/op.h"
#include "support/expect_error.h"
#include "support/kernel_checks.h"

namespace fovea::kernels {
namespace {

using testing::expect_equal_bits;
using testing::expect_matches_fallback;
using testing::random;
using testing::rows;

constexpr int kKeyHeads = 2;
constexpr int kRoom = 900;

// A buffer of random keys, evaluated, in the dtype.
mx::array filled(int past, int dim, mx::Dtype dtype) {
  const auto keys = random({past, kKeyHeads, dim});
  const int elements = dtype == mx::uint8 ? kv_row_bytes(dim, 64) : dim;
  const auto empty = mx::zeros({kKeyHeads, kRoom, elements}, dtype);
  auto buffer = past == 0            ? empty
                : dtype == mx::uint8 ? append_kv_bytes(empty, keys, 0, 64)
                                     : append_rows(empty, keys, 0);
  mx::eval(buffer);
  return buffer;
}

mx::array copy_of(const mx::array& x) {
  auto copy = mx::add(x, mx::zeros({1}, x.dtype()));
  mx::eval(copy);
  return copy;
}

std::vector<DecodeSequence> sequences(const std::vector<int>& pasts, int dim, mx::Dtype dtype) {
  std::vector<DecodeSequence> all;
  for (const int past : pasts)
    all.push_back({filled(past, dim, dtype), filled(past, dim, dtype), past});
  return all;
}

AttentionOptions answers() {
  AttentionOptions options{0.2f, 0, 0};
  options.decode = true;
  return options;
}

void expect_equal_to_one_by_one(const std::vector<int>& pasts, int dim, mx::Dtype dtype,
                                const AttentionOptions& options, const std::string& what) {
  const auto count = static_cast<int>(pasts.size());
  const auto q = random({count, 6, dim});
  const auto k = random({count, kKeyHeads, dim});
  const auto v = random({count, kKeyHeads, dim});
  auto together = sequences(pasts, dim, dtype);
  auto alone = together;
  for (auto& one : alone) {
    one.k_KCD = copy_of(one.k_KCD);
    one.v_KCD = copy_of(one.v_KCD);
  }
  mx::eval(q, k, v);
  const auto now = [&] {
    const AtOnce at_once;
    return decode_attention(q, k, v, together, options);
  }();
  for (int i = 0; auto& one : alone) {
    const auto out = decode_attention(rows(q, i, i + 1), rows(k, i, i + 1), rows(v, i, i + 1),
                                      {&one, 1}, options);
    const auto name = what + fmt::format(" past {}", one.past);
    expect_equal_bits(rows(now, i, i + 1), out, name);
    const auto& same = together[static_cast<size_t>(i)];
    expect_equal_bits(same.k_KCD, one.k_KCD, name + " keys");
    expect_equal_bits(same.v_KCD, one.v_KCD, name + " values");
    ++i;
  }
}

TEST(DecodeAttention, HasTheBitsOfSequencesAlone) {
  const std::vector<int> pasts = {5, 0, 700, 255, 256, 63, 899};
  AttentionOptions windowed = answers();
  windowed.window = 40;
  AttentionOptions capped = answers();
  capped.softcap = 5;
  AttentionOptions with_sinks = answers();
  with_sinks.sinks = random({6});
  for (const auto dtype : {mx::float32, mx::bfloat16, mx::uint8}) {
    for (const int dim : {20, 64, 128}) {
      const auto what = fmt::format("{} dim {}",
                                    dtype == mx::uint8     ? 8
                                    : dtype == mx::float32 ? 32
                                                           : 16,
                                    dim);
      expect_equal_to_one_by_one(pasts, dim, dtype, answers(), what);
      expect_equal_to_one_by_one(pasts, dim, dtype, windowed, what + " window");
      expect_equal_to_one_by_one(pasts, dim, dtype, capped, what + " cap");
      expect_equal_to_one_by_one(pasts, dim, dtype, with_sinks, what + " sinks");
    }
  }
}

TEST(DecodeAttention, MatchesTheFallback) {
  auto all = sequences({5, 300, 0}, 64, mx::bfloat16);
  const auto q = random({3, 6, 64});
  const auto k = random({3, kKeyHeads, 64});
  const auto v = random({3, kKeyHeads, 64});
  mx::eval(q, k, v);
  const AtOnce at_once;
  expect_matches_fallback([&] { return decode_attention(q, k, v, all, answers()); }, "three");
}

TEST(DecodeAttention, WritesInPlaceWhenComputedAtOnce) {
  auto all = sequences({5, 9}, 64, mx::bfloat16);
  const auto* memory = all[1].k_KCD.data<uint16_t>();
  const auto row = random({2, kKeyHeads, 64});
  const auto q = random({2, 6, 64});
  mx::eval(row, q);
  const AtOnce at_once;
  decode_attention(q, row, row, all, answers());
  EXPECT_EQ(all[1].k_KCD.data<uint16_t>(), memory);
  const auto kept = mx::slice(all[1].k_KCD, {0, 9, 0}, {kKeyHeads, 10, 64});
  expect_equal_bits(mx::transpose(kept, {1, 0, 2}), mx::astype(rows(row, 1, 2), mx::bfloat16),
                    "row");
}

TEST(DecodeAttention, RefusesWhatDoesNotFit) {
  const auto q = random({1, 6, 64});
  const auto k = random({1, kKeyHeads, 64});
  auto full = sequences({kRoom}, 64, mx::bfloat16);
  EXPECT_ERROR(decode_attention(q, k, k, full, answers()), ErrorKind::kInvalidData, "room for key");
  auto two = sequences({1, 2}, 64, mx::bfloat16);
  EXPECT_ERROR(decode_attention(q, k, k, two, answers()), ErrorKind::kInvalidData,
               "each of 2 sequences");
  auto other = sequences({1}, 32, mx::bfloat16);
  EXPECT_ERROR(decode_attention(q, k, k, other, answers()), ErrorKind::kInvalidData, "[attention]");
}

}  // namespace
}  // namespace fovea::kernels
