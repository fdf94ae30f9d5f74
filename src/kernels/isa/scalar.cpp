// 8 lanes one after another: what every processor runs, and what the others are compared with.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/isa/isa.h"
#include "kernels/isa/variants.h"

namespace fovea::kernels::isa {
namespace {

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1f;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float tiny = std::ldexp(static_cast<float>(mantissa), -24);
  return sign ? -tiny : tiny;
}

struct Vec {
  float lane[kLanes];

  template <class F>
  static Vec make(F f) {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v.lane[i] = f(i);
    return v;
  }
  static Vec set1(float x) {
    return make([=](int) { return x; });
  }
  static Vec zero() { return set1(0); }
  static Vec load(const float* p) { return load_partial(p, kLanes); }
  static Vec load_partial(const float* p, int n) {
    Vec v = zero();
    std::memcpy(v.lane, p, static_cast<size_t>(n) * sizeof(float));
    return v;
  }
  static Vec load_bf16(const uint16_t* p) {
    uint16_t half[kLanes];
    std::memcpy(half, p, sizeof(half));
    return make([&](int i) { return from_bf16(half[i]); });
  }
  static Vec load_f16(const uint16_t* p) {
    uint16_t half[kLanes];
    std::memcpy(half, p, sizeof(half));
    return make([&](int i) { return half_to_float(half[i]); });
  }
  static Vec evens(const uint16_t* p) {
    return make([=](int i) { return from_bf16(p[2 * i]); });
  }
  static Vec odds(const uint16_t* p) {
    return make([=](int i) { return from_bf16(p[2 * i + 1]); });
  }
  static Vec load_bytes(const uint8_t* p) {
    return make([=](int i) { return static_cast<float>(p[i]); });
  }
  static Vec load_nibbles(const uint8_t* p) {
    return make([=](int i) { return static_cast<float>(p[i / 2] >> (i % 2 * 4) & 15); });
  }
  template <int kBits>
  static Vec split(uint64_t stream) {
    return make([=](int i) {
      return static_cast<float>(stream >> (i * kBits) & ((uint64_t{1} << kBits) - 1));
    });
  }
  void store(float* p) const { store_partial(p, kLanes); }
  void store_partial(float* p, int n) const {
    std::memcpy(p, lane, static_cast<size_t>(n) * sizeof(float));
  }
  static Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    return make([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  friend Vec operator+(const Vec& a, const Vec& b) {
    return make([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend Vec operator-(const Vec& a, const Vec& b) {
    return make([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend Vec operator*(const Vec& a, const Vec& b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend Vec operator/(const Vec& a, const Vec& b) {
    return make([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  // The second operand when they do not compare, as the vector instruction does.
  static Vec max(const Vec& a, const Vec& b) {
    return make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vec round(const Vec& a) {
    return make([&](int i) { return std::nearbyint(a.lane[i]); });
  }
  static Vec pow2(const Vec& a) {
    return make([&](int i) {
      const int whole = std::isnan(a.lane[i]) ? 0 : static_cast<int>(a.lane[i]);
      return std::bit_cast<float>(static_cast<uint32_t>(whole + 127) << 23);
    });
  }
  static float from_bf16(uint16_t half) {
    return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
  }
  static float from_f16(uint16_t half) { return half_to_float(half); }
  float lane_max() const { return *std::max_element(lane, lane + kLanes); }
  static void sums(const Vec* four, float* out) {
    for (int i = 0; i < 4; ++i) out[i] = four[i].sum();
  }
  float sum() const {
    const float a[4] = {lane[0] + lane[4], lane[1] + lane[5], lane[2] + lane[6], lane[3] + lane[7]};
    return (a[0] + a[2]) + (a[1] + a[3]);
  }
};

#include "kernels/isa/vec_pair.h"

#include "kernels/isa/decode_scalar.h"

#include "kernels/isa/body.h"

constexpr Table kTable = make_table("scalar");

}  // namespace

const Table& scalar_table() { return kTable; }

}  // namespace fovea::kernels::isa
