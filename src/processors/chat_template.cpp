#include "processors/chat_template.h"

#include <cctype>
#include <ctime>
#include <optional>

#include "base/error.h"
#include "core/limits.h"
#include "processors/rust_call.h"
#include "processors/tokenizer.h"

namespace fovea::processors {
namespace {

constexpr int kRaised = 2;  // fovea_template_render: the template itself refused

int64_t local_now() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return static_cast<int64_t>(now) + local.tm_gmtoff;
}

std::string text_of(const Json& content) {
  if (content.is_string()) return content.as_string();
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) text += content.at(i).get_string("text", "");
  return text;
}

// What the reference writes without a template: a lone user message as it is, else "Role: text".
std::string plain_lines(const Json& context) {
  const Json messages = context["messages"];
  if (messages.size() == 1 && messages.at(0).get_string("role", "") == "user") {
    return text_of(messages.at(0)["content"]);
  }
  std::string text;
  for (size_t i = 0; i < messages.size(); ++i) {
    std::string role = messages.at(i).get_string("role", "user");
    if (!role.empty())
      role[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(role[0])));
    text += role + ": " + text_of(messages.at(i)["content"]) + "\n";
  }
  return context.get_bool("add_generation_prompt", true) ? text + "Assistant:" : text;
}

std::string rendered(const std::string& source, const std::string& context, int64_t seconds) {
  FoveaBytes text{};
  FoveaBytes error{};
  const FoveaTemplateLimits limits = {kTemplateFuel, kPromptBytesMax, kTemplateIndentMax,
                                      kTemplateWidthMax};
  const int status = fovea_template_render(source.data(), source.size(), context.data(),
                                           context.size(), seconds, &limits, &text, &error);
  if (status == 0) return taken(text);
  if (status == kRaised) {
    fail(ErrorKind::kInvalidArgument, "[chat template] {}", taken(error));
  }
  fail(ErrorKind::kInvalidData, "[chat template] expected a template that renders but got {}",
       taken(error));
}

// The variables that transformers hands to a template: the tokenizer's special tokens, those that
// only this checkpoint has (image_token, ...) included.
Json special_tokens(const Json& config) {
  JsonObject tokens;
  const auto add = [&](const std::string& name, const Json& value) {
    const std::string text = special_token_text(value);
    if (!text.empty()) tokens.set(name, text);
  };
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    add(name, config[name]);
  }
  const Json extra = config["extra_special_tokens"];
  if (extra.is_object()) {
    for (const auto& name : extra.keys()) add(name, extra[name]);
  }
  return tokens.freeze("tokenizer_config.json");
}

// A JSON file's `chat_template`: a string, or a list of named ones with one of them called default.
struct Sources {
  std::optional<std::string> plain;
  std::optional<std::string> tools;
};

Sources sources_of(const Json& config) {
  const Json value = config["chat_template"];
  if (value.is_null() || value.is_string()) {
    return {value.is_null() ? std::nullopt : std::optional(value.as_string()), std::nullopt};
  }
  Sources found;
  std::string names;
  for (size_t i = 0; i < value.as_list().size(); ++i) {
    const std::string name = value.at(i)["name"].as_string();
    const std::string source = value.at(i)["template"].as_string();
    if (name == "default") found.plain = source;
    if (name == "tool_use") found.tools = source;
    names += (names.empty() ? "'" : ", '") + name + "'";
  }
  if (!found.plain) {
    fail(ErrorKind::kInvalidData, "[{}] expected a chat template named 'default' but got {}",
         config.where(), names.empty() ? "an empty list" : names);
  }
  return found;
}

}  // namespace

ChatTemplate ChatTemplate::load(const Checkpoint& checkpoint) {
  ChatTemplate made;
  const Json config = checkpoint.read_json("tokenizer_config.json");
  made.special_tokens_ = special_tokens(config);
  made.bos_token_ = made.special_tokens_.get_string("bos_token", "");
  Sources found = sources_of(checkpoint.read_json("processor_config.json"));
  if (!found.plain) {
    found.plain = checkpoint.read_text("chat_template.jinja");
    if (!found.plain) found.plain = checkpoint.read_text("chat_templates/default.jinja");
    found.tools = checkpoint.read_text("chat_templates/tool_use.jinja");
  }
  for (const Json& file : {checkpoint.read_json("chat_template.json"), config}) {
    if (found.plain) break;
    const auto tools = std::move(found.tools);
    found = sources_of(file);
    if (tools) found.tools = tools;
  }
  made.source_ = std::move(found.plain);
  made.tool_source_ = std::move(found.tools);
  return made;
}

ChatTemplate ChatTemplate::with_source(std::string source) const {
  ChatTemplate made = *this;
  made.source_ = std::move(source);
  made.tool_source_.reset();
  return made;
}

std::string ChatTemplate::render(const Json& context) const {
  return render_at(context, local_now());
}

std::string ChatTemplate::render_at(const Json& context, int64_t local_seconds) const {
  if (!source_) return plain_lines(context);
  JsonObject values;
  for (const auto& name : special_tokens_.keys()) values.set(name, special_tokens_[name]);
  for (const auto& name : context.keys()) values.set(name, context[name]);
  const bool tools = context["tools"].size() > 0 && tool_source_;
  return rendered(tools ? *tool_source_ : *source_, values.dump(), local_seconds);
}

}  // namespace fovea::processors
