// A conversation as every entrance of Fovea (command line, web dialects, agent) states it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "core/image.h"

namespace fovea {

// Encoded bytes of one medium, fetched already. `name` is what the user called it, for messages.
struct MediaBytes {
  std::string name;
  std::string bytes;
  int page = 0;  // of a document that it was drawn from, from 1, and how many that has
  int pages = 0;
};

// Which frames of a video a model is given, and how large. What is not set is the checkpoint's,
// else the family's. Times are in seconds from the video's first frame.
struct VideoSampling {
  std::optional<double> fps;
  std::optional<int> frames;  // this many, whatever fps says
  std::optional<int> min_frames;
  std::optional<int> max_frames;
  std::optional<double> start;
  std::optional<double> end;
  std::optional<int> min_pixels;  // of a frame after resizing
  std::optional<int> max_pixels;
};

// An encoded video: an open file, which is read where frames are, or bytes where there is none.
// Cheap to copy.
struct VideoInput {
  std::string name;  // what the user called it, for messages
  std::shared_ptr<const std::string> bytes;
  std::shared_ptr<const InputFile> file;
  VideoSampling sampling;
};

// One piece of a message: text, or a reference into ChatRequest::images or videos.
struct Part {
  enum class Kind { kText, kImage, kVideo };
  Kind kind = Kind::kText;
  std::string text;  // kText
  int index = -1;    // into ChatRequest::images for kImage, into videos for kVideo
};

struct Message {
  std::string role;  // "system", "user", "assistant", "tool"
  std::vector<Part> parts;
  Json extra;  // further keys for the template (tool_calls, name, ...): an object or null
};

struct ChatRequest {
  std::vector<Message> messages;
  std::vector<MediaBytes> images;
  std::vector<VideoInput> videos;
  Json tools;            // a list as in OpenAI's `tools`, or null
  Json template_kwargs;  // further variables for the chat template: an object or null
  bool add_generation_prompt = true;
  Colours colours = Colours::kShown;  // of pictures
  std::optional<Size> resize_shape;   // fit every picture into this box first (--resize-shape)
};

}  // namespace fovea
