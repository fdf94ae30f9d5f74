#include "processors/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "processors/rust_call.h"

namespace fovea::processors {
namespace {

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(const std::string& json, const std::vector<std::string>& eos_tokens) {
    handle_ = checked_call<FoveaTokenizer*>(
        "tokenizer.json", "expected a tokenizer that the tokenizers library reads",
        [&](auto* out, auto* error) {
          return fovea_tokenizer_new(json.data(), json.size(), out, error);
        });
    const FoveaIds special = fovea_tokenizer_special_ids(handle_);
    special_ids_.assign(special.data, special.data + special.size);
    fovea_free_ids(special);
    for (const auto& token : eos_tokens) {
      if (const auto id = token_to_id(token)) eos_token_ids_.push_back(*id);
    }
  }
  ~JsonTokenizer() override { fovea_tokenizer_free(handle_); }
  JsonTokenizer(const JsonTokenizer&) = delete;
  JsonTokenizer& operator=(const JsonTokenizer&) = delete;

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    const auto ids = checked_call<FoveaIds>(
        "tokenizer", "expected text that can be split into tokens", [&](auto* out, auto* error) {
          return fovea_tokenizer_encode(handle_, text.data(), text.size(), add_special_tokens, out,
                                        error);
        });
    std::vector<int32_t> list(ids.data, ids.data + ids.size);
    fovea_free_ids(ids);
    return list;
  }

  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override {
    const std::vector<uint32_t> list(ids.begin(), ids.end());
    return taken(checked_call<FoveaBytes>(
        "tokenizer", "expected ids that can be turned into text", [&](auto* out, auto* error) {
          return fovea_tokenizer_decode(handle_, list.data(), list.size(), skip_special_tokens, out,
                                        error);
        }));
  }

  std::optional<int32_t> token_to_id(std::string_view token) const override {
    const int64_t id = fovea_tokenizer_token_to_id(handle_, token.data(), token.size());
    return id < 0 ? std::nullopt : std::optional(static_cast<int32_t>(id));
  }

  std::string id_to_token(int32_t id) const override {
    FoveaBytes token{};
    if (id < 0 || fovea_tokenizer_id_to_token(handle_, static_cast<uint32_t>(id), &token) != 0) {
      return "";
    }
    return taken(token);
  }

  bool is_special(int32_t id) const override {
    return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
  }
  int vocab_size() const override { return static_cast<int>(fovea_tokenizer_vocab_size(handle_)); }
  std::vector<int32_t> eos_token_ids() const override { return eos_token_ids_; }

 private:
  FoveaTokenizer* handle_ = nullptr;
  std::vector<int32_t> special_ids_;  // ascending
  std::vector<int32_t> eos_token_ids_;
};

}  // namespace

std::string special_token_text(const Json& value) {
  if (value.is_string()) return value.as_string();
  return value.get_string("content", "");
}

std::shared_ptr<Tokenizer> Tokenizer::load(const Checkpoint& checkpoint) {
  const auto json = checkpoint.read_text("tokenizer.json");
  if (!json) {
    fail(ErrorKind::kNotFound,
         "[tokenizer] expected a file tokenizer.json in '{}' but there is none (other tokenizer "
         "files are not read)",
         checkpoint.name);
  }
  std::vector<std::string> eos_tokens;
  const std::string eos =
      special_token_text(checkpoint.read_json("tokenizer_config.json")["eos_token"]);
  if (!eos.empty()) eos_tokens.push_back(eos);
  return std::make_shared<JsonTokenizer>(*json, std::move(eos_tokens));
}

}  // namespace fovea::processors
