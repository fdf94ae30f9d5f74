// GIF through giflib: the first frame on its canvas.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "processors/image/decoders.h"

namespace fovea::processors::image {
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

// Reads up to the first picture; returns its transparent index, or 0: what Pillow fills with.
int skip_to_frame(GifFileType* gif, const MediaBytes& media) {
  int fill = 0;
  while (true) {
    GifRecordType record;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) fail_gif(media, gif->Error);
    if (record == IMAGE_DESC_RECORD_TYPE) return fill;
    if (record == TERMINATE_RECORD_TYPE) fail_decoding(media.name, "GIF", "no frame");
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) fail_gif(media, gif->Error);
    while (block) {
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE &&
          DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
        fill = std::max(0, control.TransparentColor);
      }
      if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) fail_gif(media, gif->Error);
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

Decoded decode_gif(const MediaBytes& media) {
  Source source{media.bytes};
  int error = 0;
  const auto close = [](GifFileType* g) { DGifCloseFile(g, nullptr); };
  const std::unique_ptr<GifFileType, decltype(close)> file(DGifOpen(&source, read_bytes, &error),
                                                           close);
  GifFileType* gif = file.get();
  if (!gif) fail_gif(media, error);
  check_size(media.name, gif->SWidth, gif->SHeight);
  const int fill = skip_to_frame(gif, media);
  if (DGifGetImageDesc(gif) == GIF_ERROR) fail_gif(media, gif->Error);
  const GifImageDesc& frame = gif->Image;
  check_size(media.name, frame.Width, frame.Height);
  Decoded out;
  out.image.size = {std::max<int>(gif->SWidth, frame.Left + frame.Width),
                    std::max<int>(gif->SHeight, frame.Top + frame.Height)};
  check_size(media.name, out.image.size.width, out.image.size.height);
  const size_t width = static_cast<size_t>(out.image.size.width);
  std::vector<uint8_t> indices(width * static_cast<size_t>(out.image.size.height),
                               static_cast<uint8_t>(fill));
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    uint8_t* row = indices.data() + static_cast<size_t>(frame.Top + y) * width + frame.Left;
    if (DGifGetLine(gif, row, frame.Width) == GIF_ERROR) fail_gif(media, gif->Error);
  }
  out.image.rgb.resize(indices.size() * 3);
  paint(frame.ColorMap ? frame.ColorMap : gif->SColorMap, indices, out.image);
  return out;
}

}  // namespace fovea::processors::image
