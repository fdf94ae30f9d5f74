// Part of scalar.cpp: the bytes that decode_body.h works on, as arrays.

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
  template <class Sum>
  static Vec16 each(Sum sum) {
    const auto half = [&](int first) {
      return Vec::make([&](int i) { return static_cast<float>(sum(first + i)); });
    };
    return {half(0), half(kLanes)};
  }
  static Vec16 dots(const Bytes& a, const int8_t* x, const Bytes& b, const int8_t* y) {
    return each([&](int i) { return four(a, x, i) + four(b, y, i); });
  }
  static Vec16 dots(const Bytes& b, const int8_t* x) {
    return each([&](int i) { return four(b, x, i); });
  }
};
