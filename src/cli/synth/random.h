// Random numbers as fast as memory takes them; good enough for made-up weights, for nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fovea::cli {

// SplitMix64 (Steele, Lea and Flood 2014) from a seed and a name.
class RandomWords {
 public:
  RandomWords(uint64_t seed, std::string_view name) {
    // FNV-1a, mixed so that neighbouring seeds share nothing.
    uint64_t hash = 0xCBF29CE484222325;
    for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
    state_ = mixed(seed + kStep) ^ hash;
  }

  uint64_t next() { return mixed(state_ += kStep); }

  void fill(std::span<uint64_t> to) {
    for (uint64_t& word : to) word = next();
  }

  // Four values a word, in steps of 2^-15.
  float between_minus_one_and_one() {
    if (left_ == 0) {
      word_ = next();
      left_ = 4;
    }
    --left_;
    const auto value = static_cast<int16_t>(word_ & 0xFFFF);
    word_ >>= 16;
    return (static_cast<float>(value) + 0.5f) / 32768;
  }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15;

  static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  uint64_t state_ = 0;
  uint64_t word_ = 0;
  int left_ = 0;
};

}  // namespace fovea::cli
