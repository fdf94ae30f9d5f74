// TIFF through libtiff: its first page, in strips or tiles, of 1 to 16 bits a sample.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/limits.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

struct Source {
  std::string_view bytes;
  uint64_t at = 0;
  char message[200] = "";
};

tmsize_t read_bytes(thandle_t handle, void* to, tmsize_t count) {
  auto* source = static_cast<Source*>(handle);
  const uint64_t left = source->at < source->bytes.size() ? source->bytes.size() - source->at : 0;
  const auto got = std::min(left, static_cast<uint64_t>(std::max<tmsize_t>(0, count)));
  if (got > 0) std::memcpy(to, source->bytes.data() + source->at, got);
  source->at += got;
  return static_cast<tmsize_t>(got);
}

tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek(thandle_t handle, toff_t offset, int from) {
  auto* source = static_cast<Source*>(handle);
  const uint64_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? source->at : source->bytes.size();
  return source->at = base + offset;
}

int close_nothing(thandle_t) { return 0; }
toff_t size_of(thandle_t handle) { return static_cast<Source*>(handle)->bytes.size(); }

int take_error(TIFF*, void* data, const char*, const char* format, va_list values) {
  auto* source = static_cast<Source*>(data);
  if (!*source->message) std::vsnprintf(source->message, sizeof(source->message), format, values);
  return 1;
}
int ignore_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct FreeTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};

[[noreturn]] void refuse(const MediaBytes& media, const std::string& what) {
  fail(ErrorKind::kUnsupported,
       "[picture] expected grey, RGB, palette or CMYK of 1 to 16 bits in the TIFF '{}' but got {}",
       media.name, what);
}

// What the first directory says of the samples.
struct Layout {
  uint32_t width = 0, height = 0;
  uint16_t bits = 1, samples = 1, photometric = 0, planar = PLANARCONFIG_CONTIG;
  size_t colours = 1;  // samples that are no transparency
  bool has_alpha = false, is_premultiplied = false;
  const uint16_t* palette[3] = {};
};

void read_alpha(TIFF* tiff, Layout& layout) {
  uint16_t count = 0;
  const uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  if (layout.samples <= layout.colours || count == 0 || !kinds) return;
  layout.is_premultiplied = kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  layout.has_alpha = layout.is_premultiplied || kinds[0] == EXTRASAMPLE_UNASSALPHA;
}

Layout read_layout(TIFF* tiff, const MediaBytes& media) {
  Layout layout;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &layout.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &layout.height);
  check_size(media.name, layout.width, layout.height);
  uint16_t format = SAMPLEFORMAT_UINT;
  uint16_t compression = COMPRESSION_NONE;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &layout.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &layout.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &layout.planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &layout.photometric)) {
    fail_decoding(media.name, "TIFF", "no kind of colours");
  }
  if (compression == COMPRESSION_JPEG && layout.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout.photometric = PHOTOMETRIC_RGB;
  }
  const auto bits = layout.bits;
  if (format != SAMPLEFORMAT_UINT) refuse(media, "numbers of another kind");
  if (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16) {
    refuse(media, fmt::format("{} bits", bits));
  }
  switch (layout.photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
      break;
    case PHOTOMETRIC_PALETTE: {
      uint16_t* maps[3] = {};
      if (bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2])) {
        fail_decoding(media.name, "TIFF", "no palette");
      }
      std::copy(maps, maps + 3, layout.palette);
      break;
    }
    case PHOTOMETRIC_RGB:
      layout.colours = 3;
      break;
    case PHOTOMETRIC_SEPARATED:
      layout.colours = 4;
      break;
    default:
      refuse(media, fmt::format("colours of kind {}", layout.photometric));
  }
  if (layout.samples < layout.colours || layout.samples > 16) {
    refuse(media, fmt::format("{} samples a pixel", layout.samples));
  }
  read_alpha(tiff, layout);
  return layout;
}

// 8 bits of a sample; of a palette's index, the index.
uint8_t sample_at(const uint8_t* row, size_t index, const Layout& layout) {
  if (layout.bits == 8) return row[index];
  if (layout.bits == 16) {
    uint16_t value;
    std::memcpy(&value, row + 2 * index, sizeof(value));
    return static_cast<uint8_t>(value >> 8);
  }
  const size_t bit = index * layout.bits;
  const int most = (1 << layout.bits) - 1;
  const int value = row[bit / 8] >> (8 - layout.bits - bit % 8) & most;
  return static_cast<uint8_t>(layout.photometric == PHOTOMETRIC_PALETTE ? value
                                                                        : value * 255 / most);
}

// Where the samples of a picture go: as many bytes a pixel as are wanted.
struct Samples {
  size_t wanted = 0;  // of each pixel: the colours, and the transparency behind them
  PageVector<uint8_t> bytes;
};

// A strip or a tile of `size` that stands at x, y.
struct Block {
  uint32_t x, y, columns, rows;
  uint16_t plane;
  size_t row_bytes;
};

void place(const Block& block, const uint8_t* data, const Layout& layout, Samples& out) {
  const bool together = layout.planar == PLANARCONFIG_CONTIG;
  const size_t step = together ? layout.samples : 1;
  const uint32_t columns = std::min(block.columns, layout.width - block.x);
  const uint32_t rows = std::min(block.rows, layout.height - block.y);
  for (uint32_t y = 0; y < rows; ++y) {
    const uint8_t* row = data + y * block.row_bytes;
    uint8_t* to = out.bytes.data() + (size_t{block.y + y} * layout.width + block.x) * out.wanted;
    if (together && layout.bits == 8 && step == out.wanted) {
      std::memcpy(to, row, columns * step);
      continue;
    }
    for (uint32_t x = 0; x < columns; ++x, to += out.wanted) {
      if (!together) {
        to[block.plane] = sample_at(row, x, layout);
        continue;
      }
      for (size_t s = 0; s < out.wanted; ++s) to[s] = sample_at(row, x * step + s, layout);
    }
  }
}

void check_block(tmsize_t bytes, const MediaBytes& media) {
  constexpr tmsize_t kMost = tmsize_t{8} * kPicturePixelsMax;
  if (bytes < 1 || bytes > kMost) fail_decoding(media.name, "TIFF", "pieces of an odd size");
}

void read_blocks(TIFF* tiff, const Layout& layout, const Source& source, const MediaBytes& media,
                 Samples& out) {
  const bool tiled = TIFFIsTiled(tiff);
  Block block{0, 0, layout.width, layout.height, 0, 0};
  if (tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block.columns);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block.rows);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block.rows);
  }
  const tmsize_t bytes = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  check_block(bytes, media);
  block.rows = std::min(block.rows, tiled ? block.rows : layout.height);
  if (block.columns == 0 || block.rows == 0) check_block(0, media);
  block.row_bytes = static_cast<size_t>(tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff));
  if (block.row_bytes * block.rows > static_cast<size_t>(bytes)) check_block(0, media);
  PageVector<uint8_t> buffer(static_cast<size_t>(bytes));
  const bool together = layout.planar == PLANARCONFIG_CONTIG;
  const size_t planes = together ? 1 : out.wanted;
  for (size_t plane = 0; plane < planes; ++plane) {
    block.plane = static_cast<uint16_t>(plane);
    for (block.y = 0; block.y < layout.height; block.y += block.rows) {
      for (block.x = 0; block.x < layout.width; block.x += block.columns) {
        const auto rows = std::min(block.rows, layout.height - block.y);
        const auto needed = tiled ? bytes : static_cast<tmsize_t>(block.row_bytes * rows);
        const tmsize_t got =
            tiled
                ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, block.x, block.y, 0, block.plane),
                                      buffer.data(), bytes)
                : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, block.y, block.plane),
                                       buffer.data(), needed);
        if (got < needed) {
          fail_decoding(media.name, "TIFF",
                        *source.message ? source.message : "a cut or broken picture");
        }
        place(block, buffer.data(), layout, out);
      }
    }
  }
}

// The picture's colours from its samples.
void paint(const Layout& layout, Samples samples, bool with_alpha, Decoded& out) {
  if (layout.photometric == PHOTOMETRIC_RGB && !layout.has_alpha) {
    out.image.rgb = std::move(samples.bytes);
    return;
  }
  const auto pixels = static_cast<size_t>(out.image.size.area());
  const auto& from = samples.bytes;
  const bool inks = layout.photometric == PHOTOMETRIC_SEPARATED;
  (inks ? out.inks : out.image.rgb).resize(pixels * (inks ? 4 : 3));
  if (layout.has_alpha && with_alpha) out.alpha.resize(pixels);
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t* pixel = from.data() + i * samples.wanted;
    const uint8_t alpha = layout.has_alpha ? pixel[layout.colours] : 255;
    if (!out.alpha.empty()) out.alpha[i] = alpha;
    for (size_t c = 0; c < (inks ? 4 : 3); ++c) {
      int value = pixel[layout.colours == 1 ? 0 : c];
      if (layout.photometric == PHOTOMETRIC_MINISWHITE) value = 255 - value;
      if (layout.photometric == PHOTOMETRIC_PALETTE) value = layout.palette[c][value] >> 8;
      if (layout.is_premultiplied && alpha != 0) value = std::min(255, 255 * value / alpha);
      (inks ? out.inks[4 * i + c] : out.image.rgb[3 * i + c]) = static_cast<uint8_t>(value);
    }
  }
}

}  // namespace

Decoded decode_tiff(const MediaBytes& media, bool with_alpha) {
  Source source{media.bytes};
  const std::unique_ptr<TIFFOpenOptions, FreeTiff> options(TIFFOpenOptionsAlloc());
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), take_error, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore_warning, nullptr);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t{8} * kPicturePixelsMax);
  // m: not mapped; h: the header alone is read here.
  const std::unique_ptr<TIFF, FreeTiff> file(
      TIFFClientOpenExt("picture", "rm", &source, read_bytes, write_nothing, seek, close_nothing,
                        size_of, nullptr, nullptr, options.get()));
  TIFF* tiff = file.get();
  if (!tiff) {
    fail_decoding(media.name, "TIFF", *source.message ? source.message : "a broken header");
  }
  const Layout layout = read_layout(tiff, media);
  Decoded out;
  out.image.size = {static_cast<int>(layout.width), static_cast<int>(layout.height)};
  Samples samples;
  samples.wanted = layout.colours + (layout.has_alpha ? 1 : 0);
  samples.bytes.resize(samples.wanted * static_cast<size_t>(out.image.size.area()));
  read_blocks(tiff, layout, source, media, samples);
  paint(layout, std::move(samples), with_alpha, out);
  out.grey = layout.colours == 1 && layout.photometric != PHOTOMETRIC_PALETTE;
  if (layout.bits == 16) out.changes.push_back("16 bits a channel to their high 8");
  uint16_t orientation = 1;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
  if (orientation >= 1 && orientation <= 8) out.orientation = orientation;
  uint32_t profile_bytes = 0;
  const void* profile = nullptr;
  if (with_alpha && TIFFGetField(tiff, TIFFTAG_ICCPROFILE, &profile_bytes, &profile) &&
      profile_bytes <= kColourProfileBytesMax) {
    out.profile.assign(static_cast<const char*>(profile), profile_bytes);
  }
  if (!TIFFLastDirectory(tiff)) out.changes.push_back("first of several pages");
  return out;
}

}  // namespace fovea::media::picture
