// Sound out of an encoded file, which may come from anybody: WAV, FLAC, MP3, Ogg, M4A and the sound
// of videos, through FFmpeg's libraries. The format is told by the bytes, never by a name; only
// listed containers and codecs are read, from the given bytes alone. Any thread may call.
#pragma once

#include <string>

#include "core/limits.h"
#include "core/sound.h"

namespace fovea::media {

// What a file may ask for; the numbers of limits.h unless a caller says less.
struct SoundLimits {
  size_t bytes = kAudioBytesMax;
  double seconds = kAudioSecondsMax;  // taken
  double decode_seconds = kAudioDecodeSecondsMax;
};

// What became of a file.
struct DecodedSound {
  Sound sound;
  std::string container;  // as FFmpeg calls them: "wav"
  std::string codec;      // "pcm_s16le"
  int rate = 0;           // of the file, where it began
  int channels = 0;
  double start = 0;      // seconds of the file at which `sound` begins
  int lost_packets = 0;  // that could not be decoded: the sound lacks them
};

// The file's first stream of sound, at `rate` samples a second: the mean of its channels, resampled
// by libswresample. Times count samples from the first one; what is taken between `start` and `end`
// has the bits that it has in the whole. Throws Error(kInvalidData) for what has no sound in it, a
// file that breaks off before the length that its header tells (unless `end` asks for no more than
// is there) and samples that are not finite, Error(kTooLarge) beyond the limits,
// Error(kUnsupported) for a codec that is not listed or without FFmpeg's libraries.
DecodedSound read_sound(const SoundInput& input, int rate, const SoundLimits& limits = {});

}  // namespace fovea::media
