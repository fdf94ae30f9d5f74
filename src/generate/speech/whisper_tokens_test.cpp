// Tokenizers that know more tokens than the model has rows for.
#include "generate/speech/whisper_tokens.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace fovea::generate {
namespace {

// Words by their whole text.
class WordTokenizer : public processors::Tokenizer {
 public:
  explicit WordTokenizer(std::map<std::string, int32_t> ids) : ids_(std::move(ids)) {}
  std::vector<int32_t> encode(std::string_view text, bool) const override {
    const auto id = token_to_id(text);
    return id ? std::vector<int32_t>({1, *id}) : std::vector<int32_t>();
  }
  std::string decode(std::span<const int32_t>, bool) const override { return ""; }
  std::optional<int32_t> token_to_id(std::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  std::string id_to_token(int32_t id) const override {
    for (const auto& [token, known] : ids_) {
      if (known == id) return token;
    }
    return "";
  }
  bool is_special(int32_t) const override { return false; }
  int vocab_size() const override { return 1000; }
  std::vector<int32_t> eos_token_ids() const override { return {}; }

 private:
  std::map<std::string, int32_t> ids_;
};

constexpr int kVocabulary = 20;

// The needed ones and two languages in the vocabulary, the others from `id` on.
WordTokenizer tokenizer(int32_t id) {
  return WordTokenizer({{"<|endoftext|>", 8},
                        {"<|startoftranscript|>", 9},
                        {"<|en|>", 10},
                        {"<|de|>", 11},
                        {"<|startofprev|>", 12},
                        {"<|notimestamps|>", 13},
                        {" ", id},
                        {"<|nospeech|>", id + 1},
                        {"<|transcribe|>", id + 2},
                        {"<|translate|>", id + 3},
                        {"<|startoflm|>", id + 4},
                        {" a prompt", id + 5}});
}

Checkpoint checkpoint() {
  return {"tiny", "", Json::parse("{}", "config.json"),
          Json::parse(R"({"is_multilingual": true, "suppress_tokens": [-1, 3, 20, 500]})", "json")};
}

TEST(WhisperTokens, AreThoseOfTheTokenizer) {
  const auto tokens = whisper_tokens(checkpoint(), tokenizer(14), kVocabulary);
  EXPECT_EQ(tokens.no_speech, 15);
  EXPECT_EQ(tokens.transcribe, 16);
  EXPECT_EQ(tokens.translate, 17);
  EXPECT_EQ(tokens.languages, (std::map<std::string, int32_t>({{"de", 11}, {"en", 10}})));
  EXPECT_EQ(tokens.suppressed, std::vector<int32_t>({3, 16, 17, 15, 9, 12, 18, 11, 10}));
  EXPECT_EQ(tokens.suppressed_first, std::vector<int32_t>({1, 14, 8}));
  EXPECT_EQ(prompt_tokens("a prompt", tokenizer(14), kVocabulary), std::vector<int32_t>({1, 19}));
}

TEST(WhisperTokens, StayWithinTheModelsVocabulary) {
  for (const int32_t beyond : {kVocabulary, kVocabulary + 7, 2'000'000'000}) {
    const auto tokens = whisper_tokens(checkpoint(), tokenizer(beyond), kVocabulary);
    EXPECT_EQ(tokens.no_speech, std::nullopt);
    EXPECT_EQ(tokens.transcribe, std::nullopt);
    EXPECT_EQ(tokens.translate, std::nullopt);
    EXPECT_EQ(tokens.suppressed, std::vector<int32_t>({3, 9, 12, 11, 10}));
    EXPECT_EQ(tokens.suppressed_first, std::vector<int32_t>({1, 8}));
    EXPECT_ERROR(prompt_tokens("a prompt", tokenizer(beyond), kVocabulary), ErrorKind::kInvalidData,
                 fmt::format("a prompt of tokens below 20 but its tokenizer gives {}", beyond + 5));
  }
}

// The second name counts where the first lies beyond the model.
TEST(WhisperTokens, NoCaptionsStandsInForNoSpeech) {
  const WordTokenizer both({{"<|endoftext|>", 8},
                            {"<|startoftranscript|>", 9},
                            {"<|startofprev|>", 12},
                            {"<|notimestamps|>", 13},
                            {"<|nospeech|>", 20},
                            {"<|nocaptions|>", 19}});
  EXPECT_EQ(whisper_tokens(checkpoint(), both, kVocabulary).no_speech, 19);
  EXPECT_ERROR(whisper_tokens(checkpoint(), both, 13), ErrorKind::kInvalidData,
               "expected the token <|notimestamps|>");
}

}  // namespace
}  // namespace fovea::generate
