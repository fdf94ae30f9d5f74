// A conversation as every entrance of Fovea (command line, web dialects, agent) states it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "core/image.h"

namespace fovea {

// Encoded bytes of one medium, fetched already. `name` is what the user called it, for messages.
struct MediaBytes {
  std::string name;
  std::string bytes;
};

// One piece of a message: text, or a reference into ChatRequest::images.
struct Part {
  enum class Kind { kText, kImage };
  Kind kind = Kind::kText;
  std::string text;  // kText
  int image = -1;    // kImage: index into ChatRequest::images
};

struct Message {
  std::string role;  // "system", "user", "assistant", "tool"
  std::vector<Part> parts;
  Json extra;  // further keys for the template (tool_calls, name, ...): an object or null
};

struct ChatRequest {
  std::vector<Message> messages;
  std::vector<MediaBytes> images;
  Json tools;            // a list as in OpenAI's `tools`, or null
  Json template_kwargs;  // further variables for the chat template: an object or null
  bool add_generation_prompt = true;
  std::optional<Size> resize_shape;  // fit every picture into this box first (--resize-shape)
};

}  // namespace fovea
