#include "processors/processor.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "processors/image.h"
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
    Format{"idefics3", "image_token_id", "<image>", true},
    Format{.model_type = "internvl_chat",
           .image_token_key = "",
           .image_token = "<IMG_CONTEXT>",
           .images_first = true,
           .placeholder = "<image>",
           .marked = true},
    Format{"llava", "image_token_index", "<image>"},
    Format{.model_type = "llava-qwen2",
           .image_token_key = "",
           .image_token = "",
           .images_first = true,
           .placeholder = "<image>",
           .marked = true,
           .in_pieces = true,
           .starts_once = true},
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
           .in_pieces = true},
    Format{.model_type = "pixtral",
           .image_token_key = "image_token_index",
           .image_token = "[IMG]",
           .images_first = true,
           .strings_but_user = true},
    Format{"qwen2_5_vl", "image_token_id", "<|image_pad|>", true},
    Format{"qwen2_vl", "image_token_id", "<|image_pad|>"},
    Format{"qwen3_vl", "image_token_id", "<|image_pad|>", true},
    Format{"qwen3_vl_moe", "image_token_id", "<|image_pad|>", true},
    Format{"smolvlm", "image_token_id", "<image>", true},
};

const Format* find_format(const std::string& model_type) {
  const auto found = std::find_if(kFormats.begin(), kFormats.end(),
                                  [&](const Format& f) { return f.model_type == model_type; });
  return found == kFormats.end() ? nullptr : &*found;
}

JsonObject image_entry() {
  JsonObject entry;
  entry.set("type", "image");
  return entry;
}

// Entries carry their text twice: templates read `text` or `content`.
JsonObject text_entry(const std::string& text) {
  JsonObject entry;
  entry.set("type", "text").set("text", text).set("content", text);
  return entry;
}

JsonArray content_list(const Message& message, int further_images, bool images_first) {
  JsonArray list;
  const auto add_further = [&] {
    for (int i = 0; i < further_images; ++i) list.push(image_entry());
  };
  if (images_first) add_further();
  for (const auto& part : message.parts) {
    list.push(part.kind == Part::Kind::kImage ? image_entry() : text_entry(part.text));
  }
  if (!images_first) add_further();
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

// Images that no part names.
int unplaced_images(const ChatRequest& request) {
  int placed = 0;
  for (const auto& message : request.messages) {
    placed += static_cast<int>(
        std::count_if(message.parts.begin(), message.parts.end(),
                      [](const Part& part) { return part.kind == Part::Kind::kImage; }));
  }
  return static_cast<int>(request.images.size()) - placed;
}

// The message that takes the pictures that no part names, or how many messages there are.
size_t last_user_message(const ChatRequest& request) {
  size_t last = request.messages.size();
  for (size_t i = 0; i < request.messages.size(); ++i) {
    if (request.messages[i].role == "user") last = i;
  }
  return last;
}

// Pictures in the order in which their placeholders are rendered.
std::vector<int> picture_order(const ChatRequest& request, bool images_first) {
  const auto count = static_cast<int>(request.images.size());
  const size_t last_user = last_user_message(request);
  std::vector<int> order;
  size_t before_last = 0;  // pictures that stand before those of the last user message
  size_t through_last = 0;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    if (i == last_user) before_last = order.size();
    for (const auto& part : request.messages[i].parts) {
      if (part.kind != Part::Kind::kImage) continue;
      if (part.image < 0 || part.image >= count ||
          std::find(order.begin(), order.end(), part.image) != order.end()) {
        fail(ErrorKind::kInvalidArgument,
             "[messages] expected every picture once among {} but got number {}", count,
             part.image);
      }
      order.push_back(part.image);
    }
    if (i == last_user) through_last = order.size();
  }
  std::vector<int> further;
  for (int i = 0; i < count; ++i) {
    if (std::find(order.begin(), order.end(), i) == order.end()) further.push_back(i);
  }
  const size_t at = images_first ? before_last : through_last;
  order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), further.begin(), further.end());
  return order;
}

// The next tokens of a picture.
void add_run(MediaSpan& span, TokenRun run) {
  if (span.runs.empty()) span.begin = run.begin;
  if (!span.runs.empty() && span.runs.back().begin + span.runs.back().count == run.begin) {
    span.runs.back().count += run.count;
  } else {
    span.runs.push_back(run);
  }
}

// `found` of `what` there are.
void require_placeholders(const std::string& what, int64_t found, size_t pictures) {
  const auto wanted = static_cast<int64_t>(pictures);
  if (found > wanted) {
    fail(ErrorKind::kInvalidArgument,
         "[prompt] expected text without the picture token '{}' but got it {} times for {} "
         "pictures",
         what, found, pictures);
  }
  if (found < wanted) {
    fail(ErrorKind::kInvalidArgument,
         "[prompt] expected a placeholder for each of {} pictures but the rendered prompt has {}",
         pictures, found);
  }
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
  image_processor_ = load_image_processor(checkpoint);
  const Json id = checkpoint.config[format->image_token_key];
  if (!id.is_null()) image_token_id_ = id.as_int32();
  if (image_token_id_ < 0) {
    image_token_id_ = tokenizer_->token_to_id(format->image_token).value_or(in_pieces_ ? 0 : -1);
  }
  placeholder_ = format->placeholder.empty() ? tokenizer_->id_to_token(image_token_id_)
                                             : std::string(format->placeholder);
}

Json Processor::template_context(const ChatRequest& request) const {
  const int unplaced = unplaced_images(request);
  const size_t last_user = last_user_message(request);
  if (unplaced > 0 && last_user == request.messages.size()) {
    fail(ErrorKind::kInvalidArgument, "[messages] expected a user message for the pictures");
  }
  JsonArray messages;
  size_t next_image = 0;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    JsonObject entry;
    entry.set("role", message.role);
    const int further = i == last_user ? unplaced : 0;
    if (marked_) {
      entry.set("content", marked_text(message, further, next_image));
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

std::vector<Processor::Picture> Processor::process_pictures(const ChatRequest& request) const {
  if (!request.images.empty() && !image_processor_) {
    fail(ErrorKind::kInvalidArgument,
         "[model] expected text only because '{}' takes no pictures but got {}", model_type_,
         request.images.size());
  }
  std::vector<Picture> pictures;
  for (const int index : picture_order(request, images_first_)) {
    const MediaBytes& media = request.images[static_cast<size_t>(index)];
    Image image = decode_image(media);
    MediaSpan span;
    span.original = image.size;
    if (request.resize_shape) {
      image = resize(image, fitted(image.size, *request.resize_shape), Filter::kBicubic);
    }
    ProcessedImage processed = image_processor_->process(image, media.name);
    span.count = processed.tokens;
    span.pixels = std::move(processed.pixels);
    span.grid_thw = processed.grid_thw;
    span.tiles = processed.tiles;
    span.used = processed.used;
    pictures.push_back({std::move(span), std::move(processed.markup)});
  }
  return pictures;
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

Prompt Processor::expand(std::string rendered, std::vector<Picture> pictures) const {
  Prompt prompt;
  const auto ids = tokens_of(with_markup(rendered, pictures));
  if (image_processor_) {
    // Markup repeats the token already, which is checked as if it did not.
    int64_t found = std::count(ids.begin(), ids.end(), image_token_id_);
    for (const auto& [span, markup] : pictures) found -= markup.empty() ? 0 : span.count - 1;
    require_placeholders(tokenizer_->id_to_token(image_token_id_), found, pictures.size());
  }
  size_t next = 0;
  int placed = 0;  // tokens of the picture that is next
  for (const int32_t id : ids) {
    int count = 1;
    if (image_processor_ && id == image_token_id_) {
      auto& [span, markup] = pictures[next];
      if (markup.empty()) count = span.count;
      add_run(span, {static_cast<int>(prompt.tokens.size()), count});
      placed += count;
      if (placed == span.count) ++next, placed = 0;
    }
    prompt.tokens.insert(prompt.tokens.end(), static_cast<size_t>(count), id);
  }
  for (auto& [span, markup] : pictures) {
    if (span.runs.size() == 1) span.runs.clear();
    prompt.media.push_back(std::move(span));
  }
  prompt.text = std::move(rendered);
  return prompt;
}

Prompt Processor::process(const ChatRequest& request) const {
  auto pictures = process_pictures(request);
  std::string rendered = bare_ ? bare_prompt(request) : template_.render(template_context(request));
  return in_pieces_ ? expand_pieces(std::move(rendered), std::move(pictures))
                    : expand(std::move(rendered), std::move(pictures));
}

}  // namespace fovea::processors
