#include "processors/message_media.h"

#include <algorithm>

#include "base/error.h"

namespace fovea::processors {
namespace {

JsonObject media_entry(Part::Kind kind) {
  JsonObject entry;
  entry.set("type", kind == Part::Kind::kVideo ? "video" : "image");
  return entry;
}

// Entries carry their text twice: templates read `text` or `content`.
JsonObject text_entry(const std::string& text) {
  JsonObject entry;
  entry.set("type", "text").set("text", text).set("content", text);
  return entry;
}

// How many of `count` media of a kind no part names.
int unplaced(const ChatRequest& request, Part::Kind kind, size_t count) {
  int placed = 0;
  for (const auto& message : request.messages) {
    placed += static_cast<int>(std::count_if(message.parts.begin(), message.parts.end(),
                                             [&](const Part& part) { return part.kind == kind; }));
  }
  return static_cast<int>(count) - placed;
}

}  // namespace

JsonArray content_list(const Message& message, Further further, bool images_first) {
  JsonArray list;
  const auto add = [&](int count, Part::Kind kind) {
    for (int i = 0; i < count; ++i) list.push(media_entry(kind));
  };
  if (images_first) add(further.images, Part::Kind::kImage);
  add(further.videos, Part::Kind::kVideo);
  for (const auto& part : message.parts) {
    list.push(part.kind == Part::Kind::kText ? text_entry(part.text) : media_entry(part.kind));
  }
  if (!images_first) add(further.images, Part::Kind::kImage);
  return list;
}

std::string content_text(const Message& message) {
  std::string text;
  for (const auto& part : message.parts) text += part.text;
  return text;
}

bool is_plain_text(const Message& message) {
  return message.role != "user" &&
         std::all_of(message.parts.begin(), message.parts.end(),
                     [](const Part& part) { return part.kind == Part::Kind::kText; });
}

Further unplaced_media(const ChatRequest& request) {
  return {unplaced(request, Part::Kind::kImage, request.images.size()),
          unplaced(request, Part::Kind::kVideo, request.videos.size())};
}

size_t last_user_message(const ChatRequest& request) {
  size_t last = request.messages.size();
  for (size_t i = 0; i < request.messages.size(); ++i) {
    if (request.messages[i].role == "user") last = i;
  }
  return last;
}

const char* noun_of(Part::Kind kind) { return kind == Part::Kind::kVideo ? "video" : "picture"; }

std::vector<int> media_order(const ChatRequest& request, Part::Kind kind, int count, bool first) {
  const size_t last_user = last_user_message(request);
  std::vector<int> order;
  size_t before_last = 0;  // media that stand before those of the last user message
  size_t through_last = 0;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    if (i == last_user) before_last = order.size();
    for (const auto& part : request.messages[i].parts) {
      if (part.kind != kind) continue;
      if (part.index < 0 || part.index >= count ||
          std::find(order.begin(), order.end(), part.index) != order.end()) {
        fail(ErrorKind::kInvalidArgument,
             "[messages] expected every {} once among {} but got number {}", noun_of(kind), count,
             part.index);
      }
      order.push_back(part.index);
    }
    if (i == last_user) through_last = order.size();
  }
  std::vector<int> further;
  for (int i = 0; i < count; ++i) {
    if (std::find(order.begin(), order.end(), i) == order.end()) further.push_back(i);
  }
  const size_t at = first ? before_last : through_last;
  order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), further.begin(), further.end());
  return order;
}

}  // namespace fovea::processors
