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

std::vector<int32_t> ids_at(const Checkpoint& checkpoint, const std::string& key, int vocab_size) {
  Json list = checkpoint.generation_config[key];
  if (list.is_null()) list = checkpoint.config[key];
  std::vector<int32_t> ids;
  if (list.is_null()) return ids;
  for (const int id : list.as_int_list()) {
    if (id >= 0 && id < vocab_size) ids.push_back(id);
  }
  return ids;
}

}  // namespace

WhisperTokens whisper_tokens(const Checkpoint& checkpoint, const processors::Tokenizer& tokenizer,
                             int vocab_size) {
  const auto needed = [&](const char* token) {
    const auto id = tokenizer.token_to_id(token);
    if (id && *id < vocab_size) return *id;
    fail(ErrorKind::kInvalidData, "[whisper] expected the token {} in the tokenizer of '{}'", token,
         checkpoint.name);
  };
  WhisperTokens tokens;
  tokens.end_of_text = needed("<|endoftext|>");
  tokens.start = needed("<|startoftranscript|>");
  tokens.previous = needed("<|startofprev|>");
  tokens.no_timestamps = needed("<|notimestamps|>");
  tokens.timestamps = tokens.no_timestamps + 1;
  tokens.transcribe = tokenizer.token_to_id("<|transcribe|>");
  tokens.translate = tokenizer.token_to_id("<|translate|>");
  tokens.no_speech = tokenizer.token_to_id("<|nospeech|>");
  if (!tokens.no_speech) tokens.no_speech = tokenizer.token_to_id("<|nocaptions|>");
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
        std::optional(tokens.previous), tokenizer.token_to_id("<|startoflm|>")}) {
    if (id && *id < vocab_size) tokens.suppressed.push_back(*id);
  }
  for (const auto& [code, id] : tokens.languages) tokens.suppressed.push_back(id);
  tokens.suppressed_first = ids_at(checkpoint, "begin_suppress_tokens", vocab_size);
  if (tokens.suppressed_first.empty()) {
    tokens.suppressed_first = tokenizer.encode(" ", false);
    tokens.suppressed_first.push_back(tokens.end_of_text);
  }
  return tokens;
}

}  // namespace fovea::generate
