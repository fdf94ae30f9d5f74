#include "generate/stream.h"

#include <algorithm>
#include <utility>

namespace fovea::generate {
namespace {

// How much of the text's end is a beginning of `stop`.
size_t overlap(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.ends_with(stop.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

TextStream::TextStream(std::shared_ptr<const processors::Tokenizer> tokenizer,
                       std::vector<std::string> stop)
    : decoder_(processors::make_stream_decoder(std::move(tokenizer), true)),
      stop_(std::move(stop)) {
  std::erase(stop_, "");
}

std::string TextStream::release() {
  size_t cut = std::string::npos;
  for (const auto& stop : stop_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return std::exchange(held_, "");
  }
  size_t keep = 0;
  for (const auto& stop : stop_) keep = std::max(keep, overlap(held_, stop));
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string TextStream::add(int32_t id) {
  if (stopped_) return "";
  held_ += decoder_->add(id);
  return release();
}

std::string TextStream::finish() {
  if (stopped_) return "";
  held_ += decoder_->finish();
  std::string out = release();
  return stopped_ ? out : out + std::exchange(held_, "");
}

}  // namespace fovea::generate
