// WebP through libwebp; an animation gives its first frame.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "processors/image/decoders.h"

namespace fovea::processors::image {
namespace {

const uint8_t* data_of(const MediaBytes& media) {
  return reinterpret_cast<const uint8_t*>(media.bytes.data());
}

void decode_still(const MediaBytes& media, Image& image) {
  const int stride = image.size.width * 3;
  if (!WebPDecodeRGBInto(data_of(media), media.bytes.size(), image.rgb.data(), image.rgb.size(),
                         stride)) {
    fail_decoding(media.name, "WebP", "a broken or cut picture");
  }
}

void decode_first_frame(const MediaBytes& media, Image& image) {
  const WebPData data{data_of(media), media.bytes.size()};
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int time_ms = 0;
  if (!decoder || !WebPAnimDecoderGetNext(decoder.get(), &rgba, &time_ms)) {
    fail_decoding(media.name, "WebP", "a broken or cut animation");
  }
  for (size_t i = 0; i < image.rgb.size() / 3; ++i) {
    for (size_t c = 0; c < 3; ++c) image.rgb[i * 3 + c] = rgba[i * 4 + c];
  }
}

// The first chunk of this name, or nothing.
std::string chunk_of(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator chunk;
  if (!demuxer || !WebPDemuxGetChunk(demuxer, name, 1, &chunk)) return {};
  std::string bytes(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
  WebPDemuxReleaseChunkIterator(&chunk);
  return bytes;
}

int stored_orientation(const MediaBytes& media) {
  const WebPData data{data_of(media), media.bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data),
                                                                         WebPDemuxDelete);
  return orientation_of(chunk_of(demuxer.get(), "EXIF"), chunk_of(demuxer.get(), "XMP "));
}

}  // namespace

Decoded decode_webp(const MediaBytes& media) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data_of(media), media.bytes.size(), &features) != VP8_STATUS_OK) {
    fail_decoding(media.name, "WebP", "a broken header");
  }
  check_size(media.name, features.width, features.height);
  Decoded out;
  out.image.size = {features.width, features.height};
  out.image.rgb.resize(size_t{3} * static_cast<size_t>(features.width) *
                       static_cast<size_t>(features.height));
  if (features.has_animation) {
    decode_first_frame(media, out.image);
  } else {
    decode_still(media, out.image);
  }
  out.orientation = stored_orientation(media);
  return out;
}

}  // namespace fovea::processors::image
