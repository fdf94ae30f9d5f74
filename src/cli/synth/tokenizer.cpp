#include "cli/synth/tokenizer.h"

#include <cassert>
#include <vector>

#include "base/format.h"

namespace fovea::cli {
namespace {

constexpr int kBytes = 256;
constexpr int kLetters = 26;

std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// How byte-level vocabularies spell bytes: those that print stand for themselves, the others for
// 256, 257, ... in order. Source: GPT-2's encoder, as the tokenizers library's ByteLevel has it.
std::vector<std::string> byte_spellings() {
  const auto prints = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  std::vector<std::string> spellings;
  int next = kBytes;
  for (int b = 0; b < kBytes; ++b) spellings.push_back(utf8(prints(b) ? b : next++));
  return spellings;
}

// a, b, ..., z, aa, ab, ...
std::string letters(int number) {
  std::string word;
  for (++number; number > 0; number = (number - 1) / kLetters) {
    word.insert(word.begin(), static_cast<char>('a' + (number - 1) % kLetters));
  }
  return word;
}

struct Special {
  std::string text;
  int id;
};

int token_count(const Json& list) {
  int count = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    count += list.at(i).is_number() ? list.at(i).as_int32() : 1;
  }
  return count;
}

std::vector<Special> special_tokens(const Json& vocabulary) {
  std::vector<Special> tokens;
  int id = 0;
  const auto take = [&](const Json& list) {
    for (size_t i = 0; i < list.size(); ++i) {
      const Json entry = list.at(i);
      const int reserved = entry.is_number() ? entry.as_int32() : 0;
      for (int n = 0; n < reserved; ++n) {
        tokens.push_back({fmt::format("<|reserved_{}|>", id), id});
        ++id;
      }
      if (reserved == 0) tokens.push_back({entry.as_string(), id++});
    }
  };
  take(vocabulary["first"]);
  id += vocabulary["text"].as_int32();
  take(vocabulary["last"]);
  return tokens;
}

JsonArray added_tokens(const std::vector<Special>& tokens) {
  JsonArray list;
  for (const auto& token : tokens) {
    JsonObject entry;
    entry.set("id", token.id).set("content", token.text).set("special", true);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      entry.set(flag, false);
    }
    list.push(entry);
  }
  return list;
}

// Special tokens stand in the vocabulary too: the library numbers those that do not by itself.
JsonObject vocabulary_ids(const Json& vocabulary, const std::vector<Special>& special) {
  const int text = vocabulary["text"].as_int32();
  assert(text >= kBytes);
  const auto bytes = byte_spellings();
  JsonObject ids;
  int id = token_count(vocabulary["first"]);
  for (const auto& spelling : bytes) ids.set(spelling, id++);
  for (int word = 0; word < text - kBytes; ++word) ids.set(bytes[' '] + letters(word), id++);
  for (const auto& token : special) ids.set(token.text, token.id);
  return ids;
}

// Puts the token before a text.
JsonObject starts_with(const std::string& token, int id) {
  JsonObject start;
  JsonObject start_token;
  start_token.set("id", token).set("type_id", 0);
  start.set("SpecialToken", start_token);
  JsonObject text;
  JsonObject sequence;
  sequence.set("id", "A").set("type_id", 0);
  text.set("Sequence", sequence);
  JsonArray both;
  both.push(start).push(text);
  JsonObject entry;
  JsonArray ids;
  JsonArray names;
  ids.push(int64_t{id});
  names.push(token);
  entry.set("id", token).set("ids", ids).set("tokens", names);
  JsonObject special;
  special.set(token, entry);
  JsonObject object;
  object.set("type", "TemplateProcessing").set("single", both).set("pair", both);
  object.set("special_tokens", special);
  return object;
}

JsonObject byte_level(bool splits) {
  JsonObject object;
  object.set("type", "ByteLevel").set("add_prefix_space", false).set("trim_offsets", true);
  object.set("use_regex", splits);
  return object;
}

}  // namespace

std::string synth_tokenizer_json(const Json& vocabulary) {
  const auto special = special_tokens(vocabulary);
  JsonObject model;
  model.set("type", "BPE").set("dropout", Json()).set("unk_token", Json());
  model.set("byte_fallback", false).set("ignore_merges", true);
  model.set("vocab", vocabulary_ids(vocabulary, special)).set("merges", JsonArray());
  JsonObject tokenizer;
  tokenizer.set("version", "1.0").set("truncation", Json()).set("padding", Json());
  tokenizer.set("added_tokens", added_tokens(special)).set("normalizer", Json());
  tokenizer.set("pre_tokenizer", byte_level(true)).set("post_processor", Json());
  const std::string bos = vocabulary.get_string("bos_token", "");
  for (const auto& token : special) {
    if (token.text == bos) tokenizer.set("post_processor", starts_with(bos, token.id));
  }
  tokenizer.set("decoder", byte_level(true)).set("model", model);
  return tokenizer.dump();
}

std::string synth_tokenizer_config_json(const Json& vocabulary) {
  JsonObject config;
  config.set("tokenizer_class", "PreTrainedTokenizerFast");
  config.set("clean_up_tokenization_spaces", false);
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    if (vocabulary.contains(key)) config.set(key, vocabulary[key]);
  }
  std::string chat_template;
  const Json pieces = vocabulary["chat_template"];
  for (size_t i = 0; i < pieces.size(); ++i) chat_template += pieces.at(i).as_string();
  config.set("chat_template", chat_template);
  return config.dump();
}

}  // namespace fovea::cli
