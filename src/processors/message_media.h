// Where pictures and videos stand among the parts of a conversation, and how templates see them.
// Any thread may call.
#pragma once

#include <string>
#include <vector>

#include "core/message.h"

namespace fovea::processors {

// Media that no part names: videos stand before the text, pictures where the family has them.
struct Further {
  int images = 0;
  int videos = 0;
};
Further unplaced_media(const ChatRequest& request);

// "picture" or "video".
const char* noun_of(Part::Kind kind);

// The message that takes the media that no part names, or how many messages there are.
size_t last_user_message(const ChatRequest& request);

// The `count` media of a kind in the order in which their placeholders are rendered; `first` tells
// whether those that no part names stand before the text. Throws Error(kInvalidArgument) unless
// every one is named once at most.
std::vector<int> media_order(const ChatRequest& request, Part::Kind kind, int count, bool first);

// A message's content as templates take it: entries by type, or the text of all parts.
JsonArray content_list(const Message& message, Further further, bool images_first);
std::string content_text(const Message& message);

// Whether a message of another than the user is text alone.
bool is_plain_text(const Message& message);

}  // namespace fovea::processors
