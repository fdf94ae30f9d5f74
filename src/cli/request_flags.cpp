#include "cli/request_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"
#include "processors/media_source.h"

namespace fovea::cli {
namespace {

constexpr const char* kDefaultPrompt = "Describe this picture.";

template <class T>
T number(const std::string& whole, std::string_view text) {
  T value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) {
    fail(ErrorKind::kInvalidArgument, "[--logit-bias] expected ID=BIAS but got '{}'", whole);
  }
  return value;
}

std::pair<int32_t, float> parse_bias(const std::string& text) {
  const auto at = text.find('=');
  if (at == std::string::npos) return {number<int32_t>(text, ""), 0};
  const auto view = std::string_view(text);
  return {number<int32_t>(text, view.substr(0, at)), number<float>(text, view.substr(at + 1))};
}

void add_sampling_flags(CLI::App& command, RequestFlags& flags) {
  auto& s = flags.sampling;
  command.add_option("--max-tokens", s.max_tokens, "Tokens to generate at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  command.add_option("--temperature", s.temperature, "0 is greedy [checkpoint's, else 0]")
      ->check(CLI::Range(0.0, 100.0));
  command
      .add_option("--top-p", s.top_p,
                  "Keep the likeliest tokens of this mass [checkpoint's, else 1]")
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--top-k", s.top_k, "Keep this many tokens; 0 keeps all [checkpoint's, else 0]")
      ->check(CLI::Range(0, 1 << 30));
  command.add_option("--min-p", s.min_p, "Drop tokens below this share of the likeliest [0]")
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--repetition-penalty", s.repetition_penalty, "Divides logits of tokens seen [1]")
      ->check(CLI::Range(0.001, 1000.0));
  command
      .add_option("--presence-penalty", s.presence_penalty, "Subtracted once for tokens seen [0]")
      ->check(CLI::Range(-2.0, 2.0));
  command
      .add_option("--frequency-penalty", s.frequency_penalty, "Subtracted for every time seen [0]")
      ->check(CLI::Range(-2.0, 2.0));
  command
      .add_option("--logit-bias", flags.logit_bias,
                  "ID=BIAS, added to a token's logit (repeatable)")
      ->allow_extra_args(false);
  command.add_option("--seed", s.seed, "Seed of the sampler [random]");
  command.add_option("--stop", s.stop, "End before this text (repeatable)")
      ->allow_extra_args(false);
}

}  // namespace

void add_request_flags(CLI::App& command, RequestFlags& flags) {
  command.add_option("--prompt", flags.prompt,
                     "What to ask [with a picture: \"" + std::string(kDefaultPrompt) + "\"]");
  command.add_option("--system", flags.system, "System message");
  command
      .add_option("--image", flags.images,
                  "Picture: a path, - for standard input, a data: URI (repeatable)")
      ->allow_extra_args(false);
  command
      .add_option("--resize-shape", flags.resize_shape,
                  "Fit pictures into WIDTH [HEIGHT] pixels first, keeping their shape")
      ->expected(1, 2)
      ->check(CLI::Range(1, 16384));
  add_sampling_flags(command, flags);
}

ChatRequest chat_request(const RequestFlags& flags) {
  ChatRequest request;
  if (flags.prompt.empty() && flags.images.empty()) {
    fail(ErrorKind::kInvalidArgument, "[generate] expected --prompt or --image but got neither");
  }
  if (!flags.system.empty()) {
    request.messages.push_back({"system", {{Part::Kind::kText, flags.system, -1}}, {}});
  }
  const std::string text = flags.prompt.empty() ? kDefaultPrompt : flags.prompt;
  request.messages.push_back({"user", {{Part::Kind::kText, text, -1}}, {}});
  for (const auto& image : flags.images) request.images.push_back(processors::load_media(image));
  if (!flags.resize_shape.empty()) {
    request.resize_shape = Size{flags.resize_shape.front(), flags.resize_shape.back()};
  }
  return request;
}

SamplingParams sampling_params(const RequestFlags& flags) {
  SamplingParams params = flags.sampling;
  for (const auto& text : flags.logit_bias) params.logit_bias.push_back(parse_bias(text));
  return params;
}

}  // namespace fovea::cli
