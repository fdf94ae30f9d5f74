// FFmpeg's libraries, loaded when the first video or sound is opened: they bring more than a
// hundred others along, which no other command should wait for, and the binary starts without them.
// Only files of this room include this header.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

#include <memory>
#include <string>

namespace fovea::media {

#define FOVEA_AVFORMAT(X)             \
  X(av_guess_frame_rate)              \
  X(av_read_frame)                    \
  X(av_seek_frame)                    \
  X(av_stream_get_side_data)          \
  X(avformat_alloc_context)           \
  X(avformat_close_input)             \
  X(avformat_find_stream_info)        \
  X(avformat_index_get_entries_count) \
  X(avformat_open_input)              \
  X(avio_alloc_context)               \
  X(avio_context_free)
#define FOVEA_AVCODEC(X)           \
  X(av_packet_alloc)               \
  X(av_packet_free)                \
  X(av_packet_unref)               \
  X(avcodec_alloc_context3)        \
  X(avcodec_find_decoder)          \
  X(avcodec_flush_buffers)         \
  X(avcodec_free_context)          \
  X(avcodec_get_name)              \
  X(avcodec_open2)                 \
  X(avcodec_parameters_to_context) \
  X(avcodec_receive_frame)         \
  X(avcodec_send_packet)
#define FOVEA_AVUTIL(X)        \
  X(av_dict_free)              \
  X(av_dict_set)               \
  X(av_frame_alloc)            \
  X(av_frame_free)             \
  X(av_frame_get_buffer)       \
  X(av_frame_move_ref)         \
  X(av_frame_unref)            \
  X(av_free)                   \
  X(av_log_set_level)          \
  X(av_malloc)                 \
  X(av_channel_layout_default) \
  X(av_channel_layout_uninit)
#define FOVEA_SWRESAMPLE(X) \
  X(swr_alloc_set_opts2)    \
  X(swr_convert)            \
  X(swr_free)               \
  X(swr_init)
#define FOVEA_SWSCALE(X)      \
  X(sws_freeContext)          \
  X(sws_getCachedContext)     \
  X(sws_getCoefficients)      \
  X(sws_getColorspaceDetails) \
  X(sws_scale)                \
  X(sws_setColorspaceDetails)

// The functions that this room calls, under their own names.
struct Ffmpeg {
#define FOVEA_DECLARE(name) decltype(&::name) name = nullptr;
  FOVEA_AVFORMAT(FOVEA_DECLARE)
  FOVEA_AVCODEC(FOVEA_DECLARE)
  FOVEA_AVUTIL(FOVEA_DECLARE)
  FOVEA_SWRESAMPLE(FOVEA_DECLARE)
  FOVEA_SWSCALE(FOVEA_DECLARE)
#undef FOVEA_DECLARE
};

// Loads the versions whose headers this build had, `suffix` after their names. Throws
// Error(kUnsupported) naming the library that is not there.
Ffmpeg load_ffmpeg(const std::string& suffix = "");

// The process's, loaded on the first call; silent on standard error. Any thread may call.
const Ffmpeg& ffmpeg();

struct FreeFfmpeg {
  void operator()(AVCodecContext* c) const { ffmpeg().avcodec_free_context(&c); }
  void operator()(AVFrame* f) const { ffmpeg().av_frame_free(&f); }
  void operator()(AVPacket* p) const { ffmpeg().av_packet_free(&p); }
  void operator()(SwrContext* s) const { ffmpeg().swr_free(&s); }
  void operator()(SwsContext* s) const { ffmpeg().sws_freeContext(s); }
};
template <class T>
using FfmpegPtr = std::unique_ptr<T, FreeFfmpeg>;

}  // namespace fovea::media
