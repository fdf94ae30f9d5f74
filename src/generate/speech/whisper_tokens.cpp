#include "generate/speech/whisper_tokens.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace fovea::generate {
namespace {

// The vocabulary of the smallest multilingual checkpoint; those of English alone have one less.
constexpr int kMultilingualVocabulary = 51865;

// "en" of "<|en|>"; empty for what names no language.
std::string language_of(const std::string& token) {
  if (!token.starts_with("<|") || !token.ends_with("|>")) return "";
  const std::string code = token.substr(2, token.size() - 4);
  const bool letters =
      std::all_of(code.begin(), code.end(), [](unsigned char c) { return std::islower(c) != 0; });
  return letters && (code.size() == 2 || code.size() == 3) ? code : "";
}

// Logits and embeddings have no row for another one.
bool is_within(int32_t id, int vocab_size) { return id >= 0 && id < vocab_size; }

std::vector<int32_t> within(std::vector<int32_t> ids, int vocab_size) {
  std::erase_if(ids, [&](int32_t id) { return !is_within(id, vocab_size); });
  return ids;
}

std::vector<int32_t> ids_at(const Checkpoint& checkpoint, const std::string& key, int vocab_size) {
  Json list = checkpoint.generation_config[key];
  if (list.is_null()) list = checkpoint.config[key];
  return list.is_null() ? std::vector<int32_t>() : within(list.as_int_list(), vocab_size);
}

}  // namespace

WhisperTokens whisper_tokens(const Checkpoint& checkpoint, const processors::Tokenizer& tokenizer,
                             int vocab_size) {
  const auto known = [&](const char* token) {
    const auto id = tokenizer.token_to_id(token);
    return id && is_within(*id, vocab_size) ? id : std::nullopt;
  };
  const auto needed = [&](const char* token) {
    if (const auto id = known(token)) return *id;
    fail(ErrorKind::kInvalidData, "[whisper] expected the token {} in the tokenizer of '{}'", token,
         checkpoint.name);
  };
  WhisperTokens tokens;
  tokens.end_of_text = needed("<|endoftext|>");
  tokens.start = needed("<|startoftranscript|>");
  tokens.previous = needed("<|startofprev|>");
  tokens.no_timestamps = needed("<|notimestamps|>");
  tokens.timestamps = tokens.no_timestamps + 1;
  tokens.transcribe = known("<|transcribe|>");
  tokens.translate = known("<|translate|>");
  tokens.no_speech = known("<|nospeech|>");
  if (!tokens.no_speech) tokens.no_speech = known("<|nocaptions|>");
  const bool multilingual = checkpoint.generation_config.get_bool(
      "is_multilingual", vocab_size >= kMultilingualVocabulary);
  for (int32_t id = tokens.start + 1; multilingual && id < vocab_size; ++id) {
    const std::string code = language_of(tokenizer.id_to_token(id));
    if (code.empty()) break;
    tokens.languages[code] = id;
  }
  tokens.suppressed = ids_at(checkpoint, "suppress_tokens", vocab_size);
  // Whatever a configuration forgets: what stands before a text only.
  for (const auto& id :
       {tokens.transcribe, tokens.translate, tokens.no_speech, std::optional(tokens.start),
        std::optional(tokens.previous), known("<|startoflm|>")}) {
    if (id) tokens.suppressed.push_back(*id);
  }
  for (const auto& [code, id] : tokens.languages) tokens.suppressed.push_back(id);
  tokens.suppressed_first = ids_at(checkpoint, "begin_suppress_tokens", vocab_size);
  if (tokens.suppressed_first.empty()) {
    tokens.suppressed_first = within(tokenizer.encode(" ", false), vocab_size);
    tokens.suppressed_first.push_back(tokens.end_of_text);
  }
  return tokens;
}

std::vector<int32_t> prompt_tokens(const std::string& text, const processors::Tokenizer& tokenizer,
                                   int vocab_size) {
  auto ids = tokenizer.encode(" " + text, false);
  for (const int32_t id : ids) {
    if (is_within(id, vocab_size)) continue;
    fail(ErrorKind::kInvalidData,
         "[whisper] expected a prompt of tokens below {} but its tokenizer gives {}", vocab_size,
         id);
  }
  return ids;
}

}  // namespace fovea::generate
