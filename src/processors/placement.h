// Where the tokens of media stand in a prompt. Any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/message.h"
#include "core/prompt.h"

namespace fovea::processors {

// A picture or a video, ready but for its place.
struct ProcessedMedium {
  MediaSpan span;
  std::string markup;   // see ProcessedImage
  std::string wrapped;  // of a video: see ProcessedVideo
};

// Throws Error(kInvalidArgument) unless `what`, which marks a kind of media in a rendered prompt,
// was found as often as there are media.
void require_placeholders(const std::string& what, int64_t found, size_t media,
                          Part::Kind kind = Part::Kind::kImage);

// Puts the tokens of one kind of media into their places while a prompt's tokens come by.
class Placement {
 public:
  // Throws as require_placeholders() does unless `ids` has `token`, named `name`, for each of the
  // media, or as often as their markup repeats it.
  Placement(int32_t token, const std::string& name, Part::Kind kind,
            std::vector<ProcessedMedium> media, const std::vector<int32_t>& ids);

  bool takes(int32_t id) const { return id == token_; }

  // How often the token stands at `begin` of the prompt.
  int put(int begin);

  // Appends the media, now with their places.
  void finish(std::vector<MediaSpan>& spans);

 private:
  int32_t token_;
  std::vector<ProcessedMedium> media_;
  size_t next_ = 0;
  int placed_ = 0;  // tokens of the medium that is next
};

}  // namespace fovea::processors
