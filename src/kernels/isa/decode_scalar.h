// Part of scalar.cpp: the types that decode_body.h works on, as arrays.

struct Wide {
  float lane[16];

  struct Spread {
    int first;
    int per;
  };

  template <class F>
  static Wide make(F f) {
    Wide w;
    for (int i = 0; i < 16; ++i) w.lane[i] = f(i);
    return w;
  }
  static Wide zero() {
    return make([](int) { return 0.0f; });
  }
  static Wide load(const float* p) {
    return make([=](int i) { return p[i]; });
  }
  static Wide load_half(const uint16_t* p, Float dtype, int n) {
    return make([=](int i) {
      if (i >= n) return 0.0f;
      return dtype == Float::kBF16 ? Vec::from_bf16(p[i]) : Vec::from_f16(p[i]);
    });
  }
  static Wide fma(const Wide& a, const Wide& b, const Wide& c) {
    return make([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  friend Wide operator*(const Wide& a, const Wide& b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Spread spread_start(int per) { return {0, per}; }
  static Spread spread_next(Spread s, int lanes) { return {s.first + lanes, s.per}; }
  Wide spread(Spread s) const {
    return make([&](int i) { return lane[s.first + i / s.per]; });
  }
  float sum() const {
    return Vec::make([&](int i) { return lane[i] + lane[i + 8]; }).sum();
  }
};

struct Bytes {
  uint8_t value[64];

  static Bytes load(const uint8_t* p, int n) {
    Bytes b = {};
    std::memcpy(b.value, p, static_cast<size_t>(std::min(n, 64)));
    return b;
  }
  Bytes low_nibbles() const {
    Bytes b = *this;
    for (auto& byte : b.value) byte &= 15;
    return b;
  }
  Bytes high_nibbles() const {
    Bytes b = *this;
    for (auto& byte : b.value) byte >>= 4;
    return b;
  }
  template <int kBits>
  static uint64_t spread_bits(uint64_t stream) {
    uint64_t bytes = 0;
    for (int i = 0; i < 8; ++i) {
      bytes |= (stream >> (i * kBits) & ((uint64_t{1} << kBits) - 1)) << (8 * i);
    }
    return bytes;
  }
  static void prefetch(const uint8_t*) {}

  static int four(const Bytes& b, const int8_t* x, int i) {
    int sum = 0;
    for (int j = 4 * i; j < 4 * i + 4; ++j) sum += b.value[j] * x[j];
    return sum;
  }
  static Wide dots(const Bytes& a, const int8_t* x, const Bytes& b, const int8_t* y) {
    return Wide::make([&](int i) { return static_cast<float>(four(a, x, i) + four(b, y, i)); });
  }
  static Wide dots(const Bytes& b, const int8_t* x) {
    return Wide::make([&](int i) { return static_cast<float>(four(b, x, i)); });
  }
};
