#include "processors/processor.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "media/picture.h"
#include "processors/frame_pictures.h"
#include "processors/message_media.h"
#include "processors/placement.h"
#include "processors/resample.h"

namespace fovea::processors {
namespace {

// How a family marks a picture: the key of config.json that holds the token's id, the token's text
// for a config without it, whether pictures that no part names stand before a message's text.
struct Format {
  std::string_view model_type;
  std::string_view image_token_key;
  std::string_view image_token;
  bool images_first = false;
  // What templates put, where that is not the token itself; '#' is the number of the picture.
  std::string_view placeholder = {};
  // A prompt is the pictures, beginning-of-text, the last message's text and a line break; a
  // conversation and its template have no say.
  bool bare = false;
  // Whether content is a string, in which a line with the placeholder marks a picture.
  bool marked = false;
  // Whether the text between placeholders is tokenised piece by piece. Otherwise the picture's
  // markup takes the placeholder's place first.
  bool in_pieces = false;
  // Whether what the tokenizer puts before a text stands before the first piece only.
  bool starts_once = false;
  // Whether the content of others than users is a string where it has no pictures.
  bool strings_but_user = false;
  // Of a family that takes videos as such: the token is found as a picture's is.
  std::string_view video_token_key = {};
  std::string_view video_token = {};
  std::unique_ptr<VideoProcessor> (*make_video_processor)(const Checkpoint&) = nullptr;
  // Of a family that is told of a video's frames in words.
  std::unique_ptr<FrameStory> (*make_frame_story)(const Checkpoint&) = nullptr;
  // What ends the model's turn where the template says so and no config.json need.
  std::string_view turn_end = {};
};

// Content is a list of entries where it is not marked, and a string for every other type.
constexpr std::array kFormats = {
    Format{.model_type = "bunny-llama",
           .image_token_key = "",
           .image_token = "",
           .images_first = true,
           .placeholder = "<image>",
           .marked = true,
           .in_pieces = true,
           .starts_once = true},
    Format{"gemma3", "image_token_index", "<image_soft_token>", false, "<start_of_image>"},
    Format{.model_type = "idefics3",
           .image_token_key = "image_token_id",
           .image_token = "<image>",
           .images_first = true,
           .turn_end = "<end_of_utterance>"},
    Format{.model_type = "internvl_chat",
           .image_token_key = "",
           .image_token = "<IMG_CONTEXT>",
           .images_first = true,
           .placeholder = "<image>",
           .marked = true,
           .turn_end = "<|im_end|>"},
    Format{"llava", "image_token_index", "<image>"},
    Format{.model_type = "llava-qwen2",
           .image_token_key = "",
           .image_token = "",
           .images_first = true,
           .placeholder = "<image>",
           .marked = true,
           .in_pieces = true,
           .starts_once = true,
           .turn_end = "<|im_end|>"},
    Format{"llava_next", "image_token_index", "<image>"},
    Format{.model_type = "mistral3",
           .image_token_key = "image_token_index",
           .image_token = "[IMG]",
           .images_first = true,
           .strings_but_user = true},
    Format{.model_type = "mllama",
           .image_token_key = "image_token_index",
           .image_token = "<|image|>",
           .images_first = true,
           .strings_but_user = true},
    Format{.model_type = "paligemma",
           .image_token_key = "image_token_index",
           .image_token = "<image>",
           .bare = true},
    Format{.model_type = "phi3_v",
           .image_token_key = "",
           .image_token = "<|image|>",
           .images_first = true,
           .placeholder = "<|image_#|>",
           .marked = true,
           .in_pieces = true,
           .turn_end = "<|end|>"},
    Format{.model_type = "pixtral",
           .image_token_key = "image_token_index",
           .image_token = "[IMG]",
           .images_first = true,
           .strings_but_user = true},
    Format{.model_type = "qwen2_5_vl",
           .image_token_key = "image_token_id",
           .image_token = "<|image_pad|>",
           .images_first = true,
           .video_token_key = "video_token_id",
           .video_token = "<|video_pad|>",
           .make_video_processor = make_qwen2_vl_video_processor},
    Format{.model_type = "qwen2_vl",
           .image_token_key = "image_token_id",
           .image_token = "<|image_pad|>",
           .video_token_key = "video_token_id",
           .video_token = "<|video_pad|>",
           .make_video_processor = make_qwen2_vl_video_processor},
    Format{.model_type = "qwen3_vl",
           .image_token_key = "image_token_id",
           .image_token = "<|image_pad|>",
           .images_first = true,
           .video_token_key = "video_token_id",
           .video_token = "<|video_pad|>",
           .make_video_processor = make_qwen3_vl_video_processor},
    Format{.model_type = "qwen3_vl_moe",
           .image_token_key = "image_token_id",
           .image_token = "<|image_pad|>",
           .images_first = true,
           .video_token_key = "video_token_id",
           .video_token = "<|video_pad|>",
           .make_video_processor = make_qwen3_vl_video_processor},
    Format{.model_type = "smolvlm",
           .image_token_key = "image_token_id",
           .image_token = "<image>",
           .images_first = true,
           .make_frame_story = make_smolvlm_frame_story,
           .turn_end = "<end_of_utterance>"},
};

const Format* find_format(const std::string& model_type) {
  const auto found = std::find_if(kFormats.begin(), kFormats.end(),
                                  [&](const Format& f) { return f.model_type == model_type; });
  return found == kFormats.end() ? nullptr : &*found;
}

ProcessedMedium picture_of(ProcessedImage processed, Size original) {
  MediaSpan span;
  span.original = original;
  span.count = processed.tokens;
  span.pixels = std::move(processed.pixels);
  span.grid_thw = processed.grid_thw;
  span.tiles = processed.tiles;
  span.used = processed.used;
  return {std::move(span), std::move(processed.markup), {}};
}

}  // namespace

Processor::Processor(const Checkpoint& checkpoint)
    : model_type_(checkpoint.model_type()),
      tokenizer_(Tokenizer::load(checkpoint)),
      template_(ChatTemplate::load(checkpoint)) {
  const Format* format = find_format(model_type_);
  if (!format) return;
  images_first_ = format->images_first;
  bare_ = format->bare;
  marked_ = format->marked;
  in_pieces_ = format->in_pieces;
  starts_once_ = format->starts_once;
  strings_but_user_ = format->strings_but_user;
  if (!format->turn_end.empty()) turn_end_id_ = tokenizer_->token_to_id(format->turn_end);
  image_processor_ = load_image_processor(checkpoint);
  const Json id = checkpoint.config[format->image_token_key];
  if (!id.is_null()) image_token_id_ = id.as_int32();
  if (image_token_id_ < 0) {
    image_token_id_ = tokenizer_->token_to_id(format->image_token).value_or(in_pieces_ ? 0 : -1);
  }
  placeholder_ = format->placeholder.empty() ? tokenizer_->id_to_token(image_token_id_)
                                             : std::string(format->placeholder);
  if (format->make_frame_story) frame_story_ = format->make_frame_story(checkpoint);
  if (!format->make_video_processor) return;
  video_processor_ = format->make_video_processor(checkpoint);
  const Json video_id = checkpoint.config[format->video_token_key];
  video_token_ = format->video_token;
  video_token_id_ = video_id.is_null() ? tokenizer_->token_to_id(format->video_token).value_or(-1)
                                       : video_id.as_int32();
}

Json Processor::template_context(const ChatRequest& request) const {
  const Further unplaced = unplaced_media(request);
  const size_t last_user = last_user_message(request);
  if ((unplaced.images > 0 || unplaced.videos > 0) && last_user == request.messages.size()) {
    fail(ErrorKind::kInvalidArgument, "[messages] expected a user message for the pictures");
  }
  JsonArray messages;
  size_t next_image = 0;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    JsonObject entry;
    entry.set("role", message.role);
    const Further further = i == last_user ? unplaced : Further{};
    if (marked_) {
      entry.set("content", marked_text(message, further.images, next_image));
    } else if (image_processor_ && !(strings_but_user_ && is_plain_text(message))) {
      entry.set("content", content_list(message, further, images_first_));
    } else {
      entry.set("content", content_text(message));
    }
    for (const auto& key : message.extra.keys()) entry.set(key, message.extra[key]);
    messages.push(entry);
  }
  JsonObject context;
  context.set("messages", messages).set("add_generation_prompt", request.add_generation_prompt);
  if (!request.tools.is_null()) context.set("tools", request.tools);
  for (const auto& key : request.template_kwargs.keys()) {
    context.set(key, request.template_kwargs[key]);
  }
  return context.freeze("messages");
}

Processor::Picture Processor::process_picture(Image image, const std::string& name,
                                              const std::optional<Size>& resize_shape) const {
  const Size original = image.size;
  if (resize_shape) image = resize(image, fitted(image.size, *resize_shape), Filter::kBicubic);
  return picture_of(image_processor_->process(image, name), original);
}

// `frames` are the last of the request's pictures.
std::vector<Processor::Picture> Processor::process_pictures(const ChatRequest& request,
                                                            std::vector<Picture> frames) const {
  const auto count = static_cast<int>(request.images.size());
  const int encoded = count - static_cast<int>(frames.size());
  std::vector<Picture> pictures;
  for (const int index : media_order(request, Part::Kind::kImage, count, images_first_)) {
    if (index >= encoded) {
      pictures.push_back(std::move(frames[static_cast<size_t>(index - encoded)]));
      continue;
    }
    const MediaBytes& media = request.images[static_cast<size_t>(index)];
    DecodedPicture decoded = media::decode_picture(media, request.colours);
    pictures.push_back(process_picture(std::move(decoded.image), media.name, request.resize_shape));
    pictures.back().span.facts = std::move(decoded.facts);
  }
  return pictures;
}

std::vector<Processor::Picture> Processor::process_videos(const ChatRequest& request) const {
  const auto count = static_cast<int>(request.videos.size());
  std::vector<Picture> videos;
  for (const int index : media_order(request, Part::Kind::kVideo, count, true)) {
    const VideoInput& input = request.videos[static_cast<size_t>(index)];
    const auto video = media::Video::open(input);
    ProcessedVideo processed = video_processor_->process(*video, input.sampling, input.name);
    MediaSpan span;
    span.kind = MediaKind::kVideo;
    span.original = video->info().size;
    span.used = processed.used;
    span.count = processed.tokens;
    span.pixels = std::move(processed.pixels);
    span.grid_thw = processed.grid_thw;
    span.seconds_per_grid = processed.seconds_per_grid;
    span.frames = std::move(processed.choice.frames);
    span.times = std::move(processed.choice.times);
    span.frames_total = static_cast<int>(video->info().times.size());
    span.video = index;
    videos.push_back({std::move(span), std::move(processed.markup), std::move(processed.wrapped)});
  }
  return videos;
}

Processor::Picture Processor::process_frame(const media::VideoInfo& info, int frame,
                                            const Image& image, const std::string& name,
                                            const std::optional<Size>& resize_shape) const {
  Picture picture = frame_story_
                        ? picture_of(image_processor_->process_frame(image, name), image.size)
                        : process_picture(image, name, resize_shape);
  picture.span.frames = {frame};
  picture.span.times = {info.times[static_cast<size_t>(frame)]};
  picture.span.frames_total = static_cast<int>(info.times.size());
  return picture;
}

// Puts pictures in the place of the request's videos, which it returns: the last of its images.
std::vector<Processor::Picture> Processor::replace_videos(ChatRequest& request) const {
  std::vector<Picture> frames;
  std::vector<std::vector<Part>> parts;  // of each video
  const auto chosen = choose_pictures(request.videos, frame_story_.get());
  for (size_t i = 0; i < chosen.size(); ++i) {
    const auto& [video, choice] = chosen[i];
    const media::VideoInfo& info = video->info();
    auto& of_video = parts.emplace_back();
    const auto tell = [&](const std::string& words) {
      of_video.push_back({Part::Kind::kText, words, -1});
    };
    if (frame_story_) tell(frame_story_->begin(choice, info));
    video->read(choice.frames, [&](size_t place, const Image& image) {
      const double time = choice.times[place];
      const std::string name = fmt::format("{} at {:.3f} s", request.videos[i].name, time);
      frames.push_back(
          process_frame(info, choice.frames[place], image, name, request.resize_shape));
      frames.back().span.video = static_cast<int>(i);
      if (frame_story_) tell(frame_story_->label(time));
      of_video.push_back({Part::Kind::kImage, "", static_cast<int>(request.images.size())});
      request.images.push_back({name, ""});
    });
    if (frame_story_) tell(frame_story_->end());
  }
  put_in_place_of_videos(request, parts);
  return frames;
}

std::vector<int32_t> tokenize(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                              const std::string& rendered) {
  const std::string& bos = chat_template.bos_token();
  const bool has_bos = !bos.empty() && rendered.starts_with(bos);
  return tokenizer.encode(rendered, !has_bos);
}

std::string Processor::placeholder(size_t index) const {
  const size_t at = marked_ ? placeholder_.find('#') : std::string::npos;
  if (at == std::string::npos) return placeholder_;
  return placeholder_.substr(0, at) + std::to_string(index + 1) + placeholder_.substr(at + 1);
}

// Text with a line for each picture, those that no part names first. `next` counts pictures.
std::string Processor::marked_text(const Message& message, int further_images, size_t& next) const {
  std::string text;
  for (int i = 0; i < further_images; ++i) text += placeholder(next++) + "\n";
  for (const auto& part : message.parts) {
    text += part.kind == Part::Kind::kImage ? placeholder(next++) + "\n" : part.text;
  }
  return text;
}

// The rendered prompt between the pictures' placeholders: one piece more than there are pictures.
std::vector<std::string> Processor::pieces(const std::string& rendered, size_t pictures) const {
  std::vector<std::string> pieces;
  size_t from = 0;
  for (;;) {
    const std::string token = placeholder(pieces.size());
    const size_t at = token.empty() ? std::string::npos : rendered.find(token, from);
    if (at == std::string::npos) break;
    pieces.push_back(rendered.substr(from, at - from));
    from = at + token.size();
  }
  require_placeholders(placeholder(pictures), static_cast<int64_t>(pieces.size()), pictures);
  pieces.push_back(rendered.substr(from));
  return pieces;
}

// The rendered prompt with each picture's markup in the place of its token.
std::string Processor::with_markup(const std::string& rendered,
                                   const std::vector<Picture>& pictures) const {
  const bool any = std::any_of(pictures.begin(), pictures.end(),
                               [](const Picture& picture) { return !picture.markup.empty(); });
  if (!any && !marked_) return rendered;
  const auto parts = pieces(rendered, pictures.size());
  std::string text = parts[0];
  for (size_t i = 0; i < pictures.size(); ++i) text += pictures[i].markup + parts[i + 1];
  return text;
}

Prompt Processor::expand_pieces(std::string rendered, std::vector<Picture> pictures) const {
  Prompt prompt;
  const auto parts = pieces(rendered, pictures.size());
  prompt.tokens = tokenize(*tokenizer_, template_, parts[0]);
  for (size_t i = 0; i < pictures.size(); ++i) {
    MediaSpan& span = pictures[i].span;
    span.begin = static_cast<int>(prompt.tokens.size());
    prompt.tokens.insert(prompt.tokens.end(), static_cast<size_t>(span.count), image_token_id_);
    const auto ids = tokenizer_->encode(parts[i + 1], !starts_once_);
    prompt.tokens.insert(prompt.tokens.end(), ids.begin(), ids.end());
    prompt.media.push_back(std::move(span));
  }
  prompt.text = std::move(rendered);
  return prompt;
}

std::string Processor::bare_prompt(const ChatRequest& request) const {
  template_context(request);  // checks where pictures stand
  std::string text;
  for (size_t i = 0; i < request.images.size(); ++i) text += placeholder_;
  return text + (request.messages.empty() ? "" : content_text(request.messages.back()));
}

std::vector<int32_t> Processor::tokens_of(const std::string& text) const {
  if (!bare_) return tokenize(*tokenizer_, template_, text);
  size_t at = text.rfind(placeholder_);
  at = at == std::string::npos ? 0 : at + placeholder_.size();
  const std::string whole = text.substr(0, at) + template_.bos_token() + text.substr(at) + "\n";
  return tokenizer_->encode(whole, false);
}

// The rendered prompt with each video's markup in the place of what it stands for; where a template
// does not wrap the token so, the token alone is repeated.
std::string Processor::with_video_markup(const std::string& rendered,
                                         std::vector<Picture>& videos) const {
  std::string text;
  size_t from = 0;
  for (auto& video : videos) {
    if (video.wrapped.empty()) return rendered;
    const size_t token = rendered.find(video_token_, from);
    const size_t at = rendered.find(video.wrapped, from);
    if (at == std::string::npos || at > token) {
      video.markup.clear();
      const size_t until =
          token == std::string::npos ? rendered.size() : token + video_token_.size();
      text += rendered.substr(from, until - from);
      from = until;
    } else {
      text += rendered.substr(from, at - from) + video.markup;
      from = at + video.wrapped.size();
    }
  }
  return text + rendered.substr(from);
}

Prompt Processor::expand(std::string rendered, std::vector<Picture> pictures,
                         std::vector<Picture> videos) const {
  Prompt prompt;
  const std::string text = with_video_markup(with_markup(rendered, pictures), videos);
  const auto ids = tokens_of(text);
  std::vector<Placement> placements;
  if (image_processor_) {
    placements.emplace_back(image_token_id_, tokenizer_->id_to_token(image_token_id_),
                            Part::Kind::kImage, std::move(pictures), ids);
  }
  if (video_processor_) {
    placements.emplace_back(video_token_id_, video_token_, Part::Kind::kVideo, std::move(videos),
                            ids);
  }
  for (const int32_t id : ids) {
    int count = 1;
    for (auto& placement : placements) {
      if (placement.takes(id)) count = placement.put(static_cast<int>(prompt.tokens.size()));
    }
    prompt.tokens.insert(prompt.tokens.end(), static_cast<size_t>(count), id);
  }
  for (auto& placement : placements) placement.finish(prompt.media);
  std::sort(prompt.media.begin(), prompt.media.end(),
            [](const MediaSpan& a, const MediaSpan& b) { return a.begin < b.begin; });
  prompt.text = std::move(rendered);
  return prompt;
}

Prompt Processor::process(const ChatRequest& given) const {
  const size_t media = given.images.size() + given.videos.size();
  if (media > 0 && !image_processor_) {
    fail(ErrorKind::kInvalidArgument,
         "[model] expected text only because '{}' takes no pictures but got {}", model_type_,
         media);
  }
  // A copy only where videos must give way to pictures: requests hold encoded bytes.
  std::optional<ChatRequest> replaced;
  std::vector<Picture> frames;
  if (!given.videos.empty() && !video_processor_) {
    replaced = given;
    frames = replace_videos(*replaced);
  }
  const ChatRequest& request = replaced ? *replaced : given;
  auto pictures = process_pictures(request, std::move(frames));
  auto videos = process_videos(request);
  std::string rendered = bare_ ? bare_prompt(request) : template_.render(template_context(request));
  if (in_pieces_) return expand_pieces(std::move(rendered), std::move(pictures));
  return expand(std::move(rendered), std::move(pictures), std::move(videos));
}

}  // namespace fovea::processors
