// Everything between a conversation and a model: chat template, tokenizer, image processor and
// placeholder rules of one checkpoint. Immutable; any thread may call.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/checkpoint.h"
#include "core/message.h"
#include "core/prompt.h"
#include "processors/chat_template.h"
#include "processors/frame_story.h"
#include "processors/image_processor.h"
#include "processors/placement.h"
#include "processors/tokenizer.h"
#include "processors/video_processor.h"

namespace fovea::processors {

// Token ids of a rendered prompt, placeholders not expanded. The tokenizer's own special tokens are
// added, but never a second beginning-of-text.
std::vector<int32_t> tokenize(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                              const std::string& rendered);

class Processor {
 public:
  // Reads the tokenizer, the template and the picture settings; no weights.
  explicit Processor(const Checkpoint& checkpoint);

  // Renders the conversation with the family's picture rules, decodes and processes the pictures
  // and videos, tokenises, and expands placeholders. Media that no Part names go to the last user
  // message. A family that takes no videos is given evenly spaced frames as pictures: 16 for the
  // whole request unless its sampling says how many. Throws fovea::Error for bad media, a template
  // that refuses the messages, pictures given to a text model, or placeholders that do not match.
  Prompt process(const ChatRequest& request) const;

  const ChatTemplate& chat_template() const { return template_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

  // The token that ends a turn in the family's format where config.json need not name it.
  std::optional<int32_t> turn_end_id() const { return turn_end_id_; }

  // The template's context for a request: messages in the family's form, tools, further variables.
  Json template_context(const ChatRequest& request) const;

 private:
  using Picture = ProcessedMedium;
  std::vector<Picture> process_pictures(const ChatRequest& request,
                                        std::vector<Picture> frames) const;
  Picture process_picture(Image image, const std::string& name,
                          const std::optional<Size>& resize_shape) const;
  Picture process_frame(const media::VideoInfo& info, int frame, const Image& image,
                        const std::string& name, const std::optional<Size>& resize_shape) const;
  std::vector<Picture> process_videos(const ChatRequest& request) const;
  std::vector<Picture> replace_videos(ChatRequest& request) const;
  std::string bare_prompt(const ChatRequest& request) const;
  std::string marked_text(const Message& message, int further_images, size_t& next) const;
  std::vector<int32_t> tokens_of(const std::string& text) const;
  Prompt expand(std::string rendered, std::vector<Picture> pictures,
                std::vector<Picture> videos) const;
  Prompt expand_pieces(std::string rendered, std::vector<Picture> pictures) const;
  std::vector<std::string> pieces(const std::string& rendered, size_t pictures) const;
  std::string placeholder(size_t index) const;  // of a picture in the rendered prompt
  std::string with_markup(const std::string& rendered, const std::vector<Picture>& pictures) const;
  std::string with_video_markup(const std::string& rendered, std::vector<Picture>& videos) const;

  std::string model_type_;
  bool images_first_ = false;
  std::string placeholder_;  // what templates put for a picture
  bool bare_ = false;        // these: see Format in processor.cpp
  bool marked_ = false;
  bool in_pieces_ = false;
  bool starts_once_ = false;
  bool strings_but_user_ = false;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate template_;
  std::unique_ptr<ImageProcessor> image_processor_;  // null: text only
  int32_t image_token_id_ = -1;
  std::unique_ptr<VideoProcessor> video_processor_;  // null: frames are given as pictures,
  std::unique_ptr<FrameStory> frame_story_;          // with this around them, or null
  std::string video_token_;
  int32_t video_token_id_ = -1;
  std::optional<int32_t> turn_end_id_;
};

}  // namespace fovea::processors
