// WebP through libwebp; an animation gives its first frame.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "core/limits.h"
#include "media/picture/decoders.h"

namespace fovea::media::picture {
namespace {

const uint8_t* data_of(const MediaBytes& media) {
  return reinterpret_cast<const uint8_t*>(media.bytes.data());
}

// `channels` is 3, or 4 with transparency.
void decode_still(const MediaBytes& media, Image& image, int channels) {
  const int stride = image.size.width * channels;
  const auto decode = channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (!decode(data_of(media), media.bytes.size(), image.rgb.data(), image.rgb.size(), stride)) {
    fail_decoding(media.name, "WebP", "a broken or cut picture");
  }
}

void decode_first_frame(const MediaBytes& media, Image& image, int channels) {
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
  const auto count = static_cast<size_t>(channels);
  for (size_t i = 0; i < image.rgb.size() / count; ++i) {
    for (size_t c = 0; c < count; ++c) image.rgb[i * count + c] = rgba[i * 4 + c];
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

// What stands beside the pixels.
void read_chunks(const MediaBytes& media, bool with_profile, Decoded& out) {
  const WebPData data{data_of(media), media.bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data),
                                                                         WebPDemuxDelete);
  out.orientation =
      orientation_of(chunk_of(demuxer.get(), "EXIF"), chunk_of(demuxer.get(), "XMP "));
  if (with_profile) out.profile = chunk_of(demuxer.get(), "ICCP");
  if (out.profile.size() > kColourProfileBytesMax) out.profile.clear();
}

}  // namespace

Decoded decode_webp(const MediaBytes& media, bool with_alpha) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data_of(media), media.bytes.size(), &features) != VP8_STATUS_OK) {
    fail_decoding(media.name, "WebP", "a broken header");
  }
  check_size(media.name, features.width, features.height);
  Decoded out;
  out.image.size = {features.width, features.height};
  const int channels = with_alpha && features.has_alpha ? 4 : 3;
  out.image.rgb.resize(static_cast<size_t>(channels * out.image.size.area()));
  if (features.has_animation) {
    decode_first_frame(media, out.image, channels);
    out.changes.push_back("first picture of an animation");
  } else {
    decode_still(media, out.image, channels);
  }
  if (channels == 4) split_alpha(out.image.rgb, out.alpha);
  read_chunks(media, with_alpha, out);
  return out;
}

}  // namespace fovea::media::picture
