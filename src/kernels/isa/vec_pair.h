// Part of scalar.cpp and avx2.cpp: 16 lanes as two of Vec; body.h says what they can do.

struct Vec16 {
  static constexpr int kRows = 3;
  static constexpr int kChunks = 1;
  static constexpr int kPanelRows = 6;
  static constexpr int kPanelVectors = 1;
  Vec low;
  Vec high;

  static Vec16 set1(float x) { return {Vec::set1(x), Vec::set1(x)}; }
  static Vec16 zero() { return {Vec::zero(), Vec::zero()}; }
  static Vec16 load(const float* p) { return {Vec::load(p), Vec::load(p + kLanes)}; }
  static Vec16 load_partial(const float* p, int n) {
    if (n <= kLanes) return {Vec::load_partial(p, n), Vec::zero()};
    return {Vec::load(p), Vec::load_partial(p + kLanes, n - kLanes)};
  }
  static Vec16 load(const uint16_t* p) { return {Vec::load_bf16(p), Vec::load_bf16(p + kLanes)}; }
  static Vec16 load_bytes(const uint8_t* p) {
    return {Vec::load_bytes(p), Vec::load_bytes(p + kLanes)};
  }
  static Vec16 evens(const uint16_t* p) { return {Vec::evens(p), Vec::evens(p + 16)}; }
  static Vec16 odds(const uint16_t* p) { return {Vec::odds(p), Vec::odds(p + 16)}; }
  void store(float* p) const {
    low.store(p);
    high.store(p + kLanes);
  }
  void store_partial(float* p, int n) const {
    if (n <= kLanes) return low.store_partial(p, n);
    low.store(p);
    high.store_partial(p + kLanes, n - kLanes);
  }
  static Vec16 fma(const Vec16& a, const Vec16& b, const Vec16& c) {
    return {Vec::fma(a.low, b.low, c.low), Vec::fma(a.high, b.high, c.high)};
  }
  friend Vec16 operator+(const Vec16& a, const Vec16& b) {
    return {a.low + b.low, a.high + b.high};
  }
  friend Vec16 operator-(const Vec16& a, const Vec16& b) {
    return {a.low - b.low, a.high - b.high};
  }
  friend Vec16 operator*(const Vec16& a, const Vec16& b) {
    return {a.low * b.low, a.high * b.high};
  }
  friend Vec16 operator/(const Vec16& a, const Vec16& b) {
    return {a.low / b.low, a.high / b.high};
  }
  static Vec16 max(const Vec16& a, const Vec16& b) {
    return {Vec::max(a.low, b.low), Vec::max(a.high, b.high)};
  }
  static Vec16 round(const Vec16& a) { return {Vec::round(a.low), Vec::round(a.high)}; }
  static Vec16 pow2(const Vec16& a) { return {Vec::pow2(a.low), Vec::pow2(a.high)}; }
  // n values of 16 bits, and zeros.
  static Vec16 load_half(const uint16_t* p, Float dtype, int n) {
    uint16_t all[kLanes16] = {};
    std::memcpy(all, p, static_cast<size_t>(n) * 2);
    if (dtype == Float::kBF16) return load(all);
    return {Vec::load_f16(all), Vec::load_f16(all + kLanes)};
  }
  float sum() const { return (low + high).sum(); }
  float lane_max() const { return Vec::max(low, high).lane_max(); }
  struct Four {
    float sums[4];
  };
  static Four fold(const Vec16* w) {
    Vec halves[4];
    for (int i = 0; i < 4; ++i) halves[i] = w[i].low + w[i].high;
    Four four;
    Vec::sums(halves, four.sums);
    return four;
  }
  static void finish(const Four* f, float* out) { std::memcpy(out, f, 4 * sizeof(Four)); }
  // to[j * to_stride + i] = from[i * stride + j] for 16 by 16, and for kPanelRows by 16.
  static void transpose(const float* from, int64_t stride, float* to, int64_t to_stride) {
    for (int j = 0; j < kLanes16; ++j) {
      for (int i = 0; i < kLanes16; ++i) to[j * to_stride + i] = from[i * stride + j];
    }
  }
  static void interleave(const float* from, int64_t stride, float* to) {
    for (int j = 0; j < kLanes16; ++j) {
      for (int i = 0; i < kPanelRows; ++i) to[j * kPanelRows + i] = from[i * stride + j];
    }
  }
};
