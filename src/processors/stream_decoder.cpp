#include <algorithm>

#include "processors/tokenizer.h"

namespace fovea::processors {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// A byte that SentencePiece could not place, "<0xE7>". What a run of them spells is known at its
// end only: one bad byte turns all of it into replacement characters.
bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with(">");
}

// Decodes a short window of ids: those whose text is out already, for what they do to their
// neighbours (leading spaces, joining), and those that wait for the rest of a character.
class WindowDecoder : public StreamDecoder {
 public:
  WindowDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  std::string add(int32_t id) override {
    // The tokenizer joins what stands on both sides of a skipped token, so it must not end a run.
    if (skip_special_tokens_ && tokenizer_->is_special(id)) return "";
    ids_.push_back(id);
    if (is_byte_token(tokenizer_->id_to_token(id))) return "";
    const std::string text = decoded(ids_.size());
    if (text.ends_with(kReplacement)) return "";
    return advance(text);
  }

  std::string finish() override { return advance(decoded(ids_.size())); }

 private:
  std::string decoded(size_t count) const {
    return tokenizer_->decode(std::span(ids_).first(count), skip_special_tokens_);
  }

  // Hands out what `text`, the window's, has beyond its known part.
  std::string advance(const std::string& text) {
    const std::string before = decoded(known_);
    if (text.size() <= before.size()) return "";
    std::string piece = text.substr(before.size());
    // The ids before the new ones go, as their text no longer touches what comes.
    if (known_ > 0) ids_.erase(ids_.begin(), ids_.begin() + static_cast<int64_t>(known_));
    known_ = ids_.size();
    return piece;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  size_t known_ = 0;  // ids at the window's start whose text is out
};

}  // namespace

std::unique_ptr<StreamDecoder> make_stream_decoder(std::shared_ptr<const Tokenizer> tokenizer,
                                                   bool skip_special_tokens) {
  return std::make_unique<WindowDecoder>(std::move(tokenizer), skip_special_tokens);
}

}  // namespace fovea::processors
