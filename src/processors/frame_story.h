// What stands around a video's frames for a family that takes them as pictures and is told in words
// which they are. Immutable; any thread may call.
#pragma once

#include <memory>
#include <string>

#include "core/checkpoint.h"
#include "media/video.h"
#include "processors/frame_choice.h"

namespace fovea::processors {

class FrameStory {
 public:
  virtual ~FrameStory() = default;
  // As choose_frames() does, by the family's own rule.
  virtual FrameChoice choose(const media::VideoInfo& info, const VideoSampling& wanted,
                             const std::string& name) const = 0;
  // Before the first frame, before each, and behind the last.
  virtual std::string begin(const FrameChoice& choice, const media::VideoInfo& info) const = 0;
  virtual std::string label(double seconds) const = 0;
  virtual std::string end() const = 0;
};

// SmolVLM2. Source: Hugging Face processing_smolvlm, video_processing_smolvlm.
std::unique_ptr<FrameStory> make_smolvlm_frame_story(const Checkpoint& checkpoint);

// "sixty-four", for 0 to 999,999, as the Python package num2words spells it.
std::string number_in_words(int number);

}  // namespace fovea::processors
