// One request's ids as text: whole characters, cut at the first stop string. One thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "processors/tokenizer.h"

namespace fovea::generate {

class TextStream {
 public:
  // Empty stop strings are left out.
  TextStream(std::shared_ptr<const processors::Tokenizer> tokenizer, std::vector<std::string> stop);

  // Text that is certain after this id: what may yet become a stop string is held back.
  std::string add(int32_t id);

  // The rest, when no more ids come.
  std::string finish();

  // A stop string was met: it and all behind it are gone, and further ids add nothing.
  bool stopped() const { return stopped_; }

 private:
  std::string release();

  std::unique_ptr<processors::StreamDecoder> decoder_;
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace fovea::generate
