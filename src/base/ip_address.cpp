#include "base/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace fovea {
namespace {

struct Block {
  std::array<uint8_t, 4> start;
  int bits;
};

constexpr Block kPrivateV4[] = {
    {{0, 0, 0, 0}, 8},        {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10},
    {{127, 0, 0, 0}, 8},      {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
    {{192, 0, 0, 0}, 24},     {{192, 0, 2, 0}, 24},   {{192, 88, 99, 0}, 24},
    {{192, 168, 0, 0}, 16},   {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24},   {{224, 0, 0, 0}, 4},    {{240, 0, 0, 0}, 4},
    {{168, 63, 129, 16}, 32},  // Azure's own services, as its machines see them
};

// Of the one block that is given out, 2000::/3.
constexpr Block kPrivateV6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23},  // Teredo and other protocols' own
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documents
    {{0x20, 0x02, 0x00, 0x00}, 16},  // 6to4
    {{0x3f, 0xff, 0x00, 0x00}, 20},  // documents
};

uint32_t head_of(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

bool is_within(const IpAddress& address, const Block& block) {
  const uint32_t difference = head_of(address.bytes.data()) ^ head_of(block.start.data());
  return difference >> (32 - block.bits) == 0;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(const std::string& text) {
  IpAddress address;
  address.is_v4 = ::inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1;
  if (address.is_v4) return address;
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string IpAddress::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof(text));
  return text;
}

bool is_public(const IpAddress& address) {
  const auto holds = [&](const Block& block) { return is_within(address, block); };
  if (address.is_v4) return std::none_of(std::begin(kPrivateV4), std::end(kPrivateV4), holds);
  return address.bytes[0] >> 5 == 1 &&
         std::none_of(std::begin(kPrivateV6), std::end(kPrivateV6), holds);
}

}  // namespace fovea
