#include "processors/weigh.h"

#include <algorithm>

namespace fovea::processors {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// Sums of `lanes` values stay in registers while the weights go by.
template <int lanes>
[[gnu::always_inline]] inline void weigh_lanes(const uint8_t* from, size_t stride,
                                               std::span<const int32_t> weights, uint8_t* to) {
  int32_t sums[lanes];
  for (int32_t& sum : sums) sum = kHalf;
  for (const int32_t weight : weights) {
    for (int i = 0; i < lanes; ++i) sums[i] += from[i] * weight;
    from += stride;
  }
  for (int i = 0; i < lanes; ++i) {
    to[i] = static_cast<uint8_t>(std::clamp(sums[i] >> kWeightBits, 0, 255));
  }
}

// The text of all variants; each compiles it for other instructions.
[[gnu::always_inline]] inline void weigh_body(const uint8_t* from, size_t stride,
                                              std::span<const int32_t> weights, uint8_t* to,
                                              size_t count) {
  size_t i = 0;
  for (; i + 48 <= count; i += 48) weigh_lanes<48>(from + i, stride, weights, to + i);
  for (; i + 16 <= count; i += 16) weigh_lanes<16>(from + i, stride, weights, to + i);
  for (; i < count; ++i) weigh_lanes<1>(from + i, stride, weights, to + i);
}

void weigh_plain(const uint8_t* from, size_t stride, std::span<const int32_t> weights, uint8_t* to,
                 size_t count) {
  weigh_body(from, stride, weights, to, count);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void weigh_avx2(const uint8_t* from, size_t stride,
                                        std::span<const int32_t> weights, uint8_t* to,
                                        size_t count) {
  weigh_body(from, stride, weights, to, count);
}
#endif

}  // namespace

std::vector<WeighVariant> weigh_variants() {
  std::vector<WeighVariant> variants = {{"plain", weigh_plain}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) variants.push_back({"avx2", weigh_avx2});
#endif
  return variants;
}

Weigh weigh() {
  static const Weigh best = weigh_variants().back().weigh;
  return best;
}

}  // namespace fovea::processors
