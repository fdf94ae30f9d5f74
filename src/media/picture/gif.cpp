// GIF through giflib: the first frame on its canvas.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

struct Source {
  std::string_view rest;
};

int read_bytes(GifFileType* gif, GifByteType* to, int count) {
  auto* source = static_cast<Source*>(gif->UserData);
  const size_t got = std::min(source->rest.size(), static_cast<size_t>(count));
  std::memcpy(to, source->rest.data(), got);
  source->rest.remove_prefix(got);
  return static_cast<int>(got);
}

[[noreturn]] void fail_gif(const MediaBytes& media, int code) {
  const char* reason = GifErrorString(code);
  fail_decoding(media.name, "GIF", reason ? reason : "a broken picture");
}

// Reads up to the first picture; returns its transparent index, or -1.
int skip_to_frame(GifFileType* gif, const MediaBytes& media) {
  int transparent = -1;
  while (true) {
    GifRecordType record;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) fail_gif(media, gif->Error);
    if (record == IMAGE_DESC_RECORD_TYPE) return transparent;
    if (record == TERMINATE_RECORD_TYPE) fail_decoding(media.name, "GIF", "no frame");
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) fail_gif(media, gif->Error);
    while (block) {
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE &&
          DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
        transparent = control.TransparentColor;
      }
      if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) fail_gif(media, gif->Error);
    }
  }
}

// What cannot be read behind the first frame is no reason to refuse that.
bool has_more_frames(GifFileType* gif) {
  while (true) {
    GifRecordType record;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR || record == TERMINATE_RECORD_TYPE) {
      return false;
    }
    if (record == IMAGE_DESC_RECORD_TYPE) return true;
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) return false;
    while (block) {
      if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return false;
    }
  }
}

// Rows of an interlaced frame come in four passes.
std::vector<int> row_order(int rows, bool interlaced) {
  std::vector<int> order;
  constexpr int starts[] = {0, 4, 2, 1};
  constexpr int steps[] = {8, 8, 4, 2};
  for (int pass = 0; pass < (interlaced ? 4 : 1); ++pass) {
    const int step = interlaced ? steps[pass] : 1;
    for (int y = interlaced ? starts[pass] : 0; y < rows; y += step) order.push_back(y);
  }
  return order;
}

// Without any palette an index is a grey.
void paint(const ColorMapObject* colors, const std::vector<uint8_t>& indices, Image& image) {
  for (size_t i = 0; i < indices.size(); ++i) {
    GifColorType color{};
    if (!colors) color = {indices[i], indices[i], indices[i]};
    if (colors && indices[i] < colors->ColorCount) color = colors->Colors[indices[i]];
    image.rgb[i * 3] = color.Red;
    image.rgb[i * 3 + 1] = color.Green;
    image.rgb[i * 3 + 2] = color.Blue;
  }
}

}  // namespace

Decoded decode_gif(const MediaBytes& media, bool with_alpha) {
  Source source{media.bytes};
  int error = 0;
  const auto close = [](GifFileType* g) { DGifCloseFile(g, nullptr); };
  const std::unique_ptr<GifFileType, decltype(close)> file(DGifOpen(&source, read_bytes, &error),
                                                           close);
  GifFileType* gif = file.get();
  if (!gif) fail_gif(media, error);
  check_size(media.name, gif->SWidth, gif->SHeight);
  const int transparent = skip_to_frame(gif, media);
  if (DGifGetImageDesc(gif) == GIF_ERROR) fail_gif(media, gif->Error);
  const GifImageDesc& frame = gif->Image;
  check_size(media.name, frame.Width, frame.Height);
  Decoded out;
  out.image.size = {std::max<int>(gif->SWidth, frame.Left + frame.Width),
                    std::max<int>(gif->SHeight, frame.Top + frame.Height)};
  check_size(media.name, out.image.size.width, out.image.size.height);
  const size_t width = static_cast<size_t>(out.image.size.width);
  std::vector<uint8_t> indices(width * static_cast<size_t>(out.image.size.height),
                               static_cast<uint8_t>(std::max(0, transparent)));  // as Pillow fills
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    uint8_t* row = indices.data() + static_cast<size_t>(frame.Top + y) * width + frame.Left;
    if (DGifGetLine(gif, row, frame.Width) == GIF_ERROR) fail_gif(media, gif->Error);
  }
  out.image.rgb.resize(indices.size() * 3);
  paint(frame.ColorMap ? frame.ColorMap : gif->SColorMap, indices, out.image);
  if (with_alpha && transparent >= 0) {
    out.alpha.resize(indices.size());
    std::transform(indices.begin(), indices.end(), out.alpha.begin(),
                   [&](uint8_t index) { return index == transparent ? 0 : 255; });
  }
  if (has_more_frames(gif)) out.changes.push_back("first picture of an animation");
  return out;
}

}  // namespace fovea::media::picture
