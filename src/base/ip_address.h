// Addresses of the Internet's protocol, version 4 or 6, and which of them are everybody's. Any
// thread may call.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace fovea {

struct IpAddress {
  bool is_v4 = false;
  std::array<uint8_t, 16> bytes{};  // in network order; of version 4 the first four

  // In the forms of inet_pton alone: no octal, hexadecimal or shortened ones.
  static std::optional<IpAddress> parse(const std::string& text);
  std::string text() const;
  bool operator==(const IpAddress&) const = default;
};

// Whether it is one that the whole Internet shares: not this machine's, a private network's, a
// link's, a group's, a document's example, and no version 6 that stands for one of version 4
// (mapped, translated, 6to4, Teredo). Source: IANA's special-purpose address registries (RFC 6890
// and its followers).
bool is_public(const IpAddress& address);

}  // namespace fovea
