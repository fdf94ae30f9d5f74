#include <optional>

#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kLongType = 4;  // the usual one is 3, a short

// Numbers of a TIFF block; reading beyond its end gives 0.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), big_(bytes.starts_with("MM")) {}
  uint32_t number(size_t at, int size) const {
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const size_t index = at + static_cast<size_t>(big_ ? i : size - 1 - i);
      const uint32_t byte = index < bytes_.size() ? static_cast<uint8_t>(bytes_[index]) : 0;
      value = value << 8 | byte;
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool big_;
};

std::optional<uint32_t> exif_value(std::string_view exif) {
  if (exif.starts_with(std::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
  if (!exif.starts_with("II") && !exif.starts_with("MM")) return std::nullopt;
  const Tiff tiff(exif);
  const size_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  for (uint32_t i = 0; i < entries && directory + 14 + i * 12 <= exif.size(); ++i) {
    const size_t entry = directory + 2 + i * 12;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const bool is_long = tiff.number(entry + 2, 2) == kLongType;
    return tiff.number(entry + 8, is_long ? 4 : 2);
  }
  return std::nullopt;
}

// Written as an attribute (tiff:Orientation="6") or as an element.
std::optional<uint32_t> xmp_value(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != xmp.npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return std::nullopt;
}

}  // namespace

int orientation_of(std::string_view exif, std::string_view xmp) {
  auto value = exif_value(exif);
  if (!value) value = xmp_value(xmp);
  return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
}

}  // namespace fovea::media::picture
