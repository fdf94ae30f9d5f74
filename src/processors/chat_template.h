// A checkpoint's chat template. Immutable; any thread may call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/checkpoint.h"

namespace fovea::processors {

class ChatTemplate {
 public:
  // `chat_template` of processor_config.json, else chat_template.jinja (or default.jinja in the
  // folder chat_templates, which may hold tool_use.jinja as well), else `chat_template` of
  // chat_template.json, else of tokenizer_config.json. In JSON it is a string or a list of named
  // ones; Error(kInvalidData) for a list without 'default' and for any other type. Without any,
  // "Role: text" lines are written.
  static ChatTemplate load(const Checkpoint& checkpoint);

  // A template by itself, without special tokens.
  explicit ChatTemplate(std::string source) : source_(std::move(source)) {}

  // Renders `context`: an object with `messages` and whatever the template reads; the tokenizer's
  // special tokens (bos_token, ...) are there unless the context has them. Throws
  // Error(kInvalidArgument) with the template's own sentence when it refuses the messages.
  std::string render(const Json& context) const;

  // The same with a clock: seconds since 1970, local time.
  std::string render_at(const Json& context, int64_t local_seconds) const;

  // The same special tokens around another template.
  ChatTemplate with_source(std::string source) const;

  const std::string& bos_token() const { return bos_token_; }

 private:
  ChatTemplate() = default;

  std::optional<std::string> source_;       // without: "Role: text" lines
  std::optional<std::string> tool_source_;  // the template for requests with tools
  std::string bos_token_;
  Json special_tokens_;  // object of strings, or null
};

}  // namespace fovea::processors
