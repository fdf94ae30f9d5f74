// When each word of a window was said: by the heads whose attention follows the sound, and the path
// of least cost through it (dynamic time warping). Source: the code published with Whisper's paper.
// Engine thread only, but for the pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/transcript.h"
#include "generate/speech/window_decoder.h"
#include "processors/tokenizer.h"

namespace fovea::generate {

// generation_config.json's alignment_heads, else all heads of the latter half of the layers.
std::vector<OneSequenceCache::Head> alignment_heads(const Checkpoint& checkpoint, int layers,
                                                    int heads);

// The column at which the cheapest path through cost [rows, columns] enters each row, from the
// first corner to the last by steps of one row, one column or both.
std::vector<int> entered_columns(std::span<const float> cost, int rows, int columns);

// Ids in groups that are a word each, with its leading space: whole characters where the language
// writes no spaces.
struct WordTokens {
  std::string text;
  std::vector<int32_t> ids;
};
std::vector<WordTokens> split_words(std::span<const int32_t> ids,
                                    const processors::Tokenizer& tokenizer, bool spaces);

// Fills SpokenSegment::words of the window that begins at `offset` and has `seconds` of sound,
// which `decoder` still holds. `begin` is the sequence that begins a transcript.
void add_word_times(std::span<SpokenSegment> segments, const std::vector<int32_t>& begin,
                    const std::string& language, double offset, double seconds,
                    const std::vector<OneSequenceCache::Head>& heads,
                    const processors::Tokenizer& tokenizer, WindowDecoder& decoder);

}  // namespace fovea::generate
