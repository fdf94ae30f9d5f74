// Colours of a decoded picture to sRGB, through Little CMS where the file has a profile.
#include <lcms2.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/printable.h"
#include "base/thread_pool.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

struct FreeColours {
  void operator()(void* profile) const { cmsCloseProfile(profile); }
};
using Profile = std::unique_ptr<void, FreeColours>;

struct FreeTransform {
  void operator()(void* transform) const { cmsDeleteTransform(transform); }
};
using Transform = std::unique_ptr<void, FreeTransform>;

constexpr int kPixelsAtOnce = 1 << 16;
// A profile that moves no colour further than this is sRGB under another name, with other rounding.
constexpr int kNoChange = 2;

std::string name_of(cmsHPROFILE profile) {
  char text[128] = "";
  cmsGetProfileInfoASCII(profile, cmsInfoDescription, "en", "US", text, sizeof(text));
  text[sizeof(text) - 1] = '\0';
  return *text ? printable(text) : "without a name";
}

// Inks as Pillow turns them into light.
PageVector<uint8_t> rgb_of_inks(const PageVector<uint8_t>& inks) {
  PageVector<uint8_t> rgb(inks.size() / 4 * 3);
  for (size_t i = 0; i < inks.size() / 4; ++i) {
    const int black_rest = 255 - inks[i * 4 + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int product = inks[i * 4 + c] * black_rest + 128;
      rgb[i * 3 + c] =
          static_cast<uint8_t>(std::max(0, black_rest - ((product >> 8) + product) / 256));
    }
  }
  return rgb;
}

// Whether the transform leaves a grid of all colours where it is.
bool changes_nothing(cmsHTRANSFORM transform) {
  std::vector<uint8_t> from;
  for (int i = 0; i < 6 * 6 * 6; ++i) {
    for (const int step : {i / 36, i / 6 % 6, i % 6}) {
      from.push_back(static_cast<uint8_t>(51 * step));
    }
  }
  std::vector<uint8_t> to(from.size());
  cmsDoTransform(transform, from.data(), to.data(), static_cast<cmsUInt32Number>(from.size() / 3));
  return std::equal(from.begin(), from.end(), to.begin(),
                    [](int a, int b) { return std::abs(a - b) <= kNoChange; });
}

void run(cmsHTRANSFORM transform, const uint8_t* from, size_t channels, PageVector<uint8_t>& rgb) {
  const auto pixels = static_cast<int64_t>(rgb.size() / 3);
  const auto pieces = static_cast<int>((pixels + kPixelsAtOnce - 1) / kPixelsAtOnce);
  parallel_for(pieces, 1, [&](int begin, int end) {
    for (int piece = begin; piece < end; ++piece) {
      const int64_t at = int64_t{piece} * kPixelsAtOnce;
      const auto count = std::min<int64_t>(kPixelsAtOnce, pixels - at);
      cmsDoTransform(transform, from + static_cast<size_t>(at) * channels, rgb.data() + 3 * at,
                     static_cast<cmsUInt32Number>(count));
    }
  });
}

// Whether the profile was used, with the picture's RGB then in decoded.image.
bool apply_profile(Decoded& decoded, std::vector<std::string>& changes) {
  const auto size = static_cast<cmsUInt32Number>(decoded.profile.size());
  const Profile from(cmsOpenProfileFromMem(decoded.profile.data(), size));
  const bool inks = !decoded.inks.empty();
  const auto space = from ? cmsGetColorSpace(from.get()) : cmsColorSpaceSignature{};
  const bool fits = inks ? space == cmsSigCmykData
                         : space == cmsSigRgbData || (space == cmsSigGrayData && decoded.grey);
  if (!fits) {
    changes.push_back("a colour profile that does not fit was left aside");
    return false;
  }
  const cmsUInt32Number format = inks                      ? TYPE_CMYK_8
                                 : space == cmsSigGrayData ? TYPE_GRAY_8
                                                           : TYPE_RGB_8;
  const Profile srgb(cmsCreate_sRGBProfile());
  // Without its cache, threads may share it.
  const Transform transform(cmsCreateTransform(from.get(), format, srgb.get(), TYPE_RGB_8,
                                               INTENT_PERCEPTUAL, cmsFLAGS_NOCACHE));
  if (!transform) {
    changes.push_back("a colour profile that cannot be used was left aside");
    return false;
  }
  if (format == TYPE_RGB_8 && changes_nothing(transform.get())) return false;
  auto& rgb = decoded.image.rgb;
  if (inks) {
    rgb.resize(decoded.inks.size() / 4 * 3);
    run(transform.get(), decoded.inks.data(), 4, rgb);
  } else if (format == TYPE_GRAY_8) {
    PageVector<uint8_t> grey(rgb.size() / 3);
    for (size_t i = 0; i < grey.size(); ++i) grey[i] = rgb[3 * i];
    run(transform.get(), grey.data(), 1, rgb);
  } else {
    run(transform.get(), rgb.data(), 3, rgb);
  }
  changes.push_back("colours of the profile '" + name_of(from.get()) + "' to sRGB");
  return true;
}

// As Pillow's alpha_composite over an opaque picture, in its numbers.
void lay_over_white(Image& image, const PageVector<uint8_t>& alpha) {
  for (size_t i = 0; i < alpha.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& value = image.rgb[3 * i + c];
      const uint32_t sum =
          128u * (uint32_t{value} * alpha[i] + 255u * (255u - alpha[i])) + (0x80u << 7);
      value = static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
    }
  }
}

}  // namespace

Image to_rgb(Decoded&& decoded, Colours colours, std::vector<std::string>& changes) {
  const bool shown = colours == Colours::kShown;
  const bool converted = shown && !decoded.profile.empty() && apply_profile(decoded, changes);
  if (!converted && !decoded.inks.empty()) {
    decoded.image.rgb = rgb_of_inks(decoded.inks);
    changes.push_back("inks (CMYK) to RGB");
  }
  if (!decoded.alpha.empty()) {
    lay_over_white(decoded.image, decoded.alpha);
    changes.push_back("transparency over white");
  }
  return std::move(decoded.image);
}

void split_alpha(PageVector<uint8_t>& rgba, PageVector<uint8_t>& alpha) {
  const size_t pixels = rgba.size() / 4;
  alpha.resize(pixels);
  bool opaque = true;
  for (size_t i = 0; i < pixels; ++i) {
    alpha[i] = rgba[4 * i + 3];
    opaque = opaque && alpha[i] == 255;
    for (size_t c = 0; c < 3; ++c) rgba[3 * i + c] = rgba[4 * i + c];
  }
  rgba.resize(3 * pixels);
  if (opaque) alpha.clear();
}

}  // namespace fovea::media::picture
