// Part of scalar.cpp: the bytes that decode_body.h works on, as arrays.

struct Ints {
  int lane[kLanes16] = {};
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
  static void prefetch_beside(const uint16_t*) {}

  static int four(const Bytes& b, const int8_t* x, int i) {
    int sum = 0;
    for (int j = 4 * i; j < 4 * i + 4; ++j) sum += b.value[j] * x[j];
    return sum;
  }
  static Ints dots(const Bytes& a, const int8_t* x, const Bytes& b, const int8_t* y) {
    Ints sums;
    for (int i = 0; i < kLanes16; ++i) sums.lane[i] = four(a, x, i) + four(b, y, i);
    return sums;
  }
  static Ints dots(const Bytes& b, const int8_t* x) {
    Ints sums;
    for (int i = 0; i < kLanes16; ++i) sums.lane[i] = four(b, x, i);
    return sums;
  }
  template <int kPerBlock>
  static Vec16 block_sums(const Ints* chunks) {
    float sums[kLanes16];
    for (int b = 0; b < kLanes16; ++b) {
      int sum = 0;
      for (int i = b * kPerBlock; i < (b + 1) * kPerBlock; ++i) {
        sum += chunks[i / kLanes16].lane[i % kLanes16];
      }
      sums[b] = static_cast<float>(sum);
    }
    return Vec16::load(sums);
  }
};
