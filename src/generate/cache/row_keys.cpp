#include "generate/cache/row_keys.h"

#include <cstring>

namespace fovea::generate {
namespace {

constexpr uint64_t kOfMedium = uint64_t{1} << 63;

template <class T>
void add_list(Sha256& hash, const std::vector<T>& values) {
  hash.add_value(uint64_t{values.size()});
  hash.add(std::as_bytes(std::span(values)));
}

}  // namespace

RowKey key_of(int32_t token) { return {static_cast<uint32_t>(token), 0}; }

Sha256Bytes content_hash(const MediaSpan& span) {
  Sha256 hash;
  hash.add_value(static_cast<int32_t>(span.kind));
  for (const int value : span.grid_thw) hash.add_value(value);
  for (const int value : span.tiles) hash.add_value(value);
  // Of some families' videos: how far apart in time their rows stand.
  const auto seconds = span.seconds_per_grid;
  hash.add(std::as_bytes(std::span(&seconds, 1)));
  add_list(hash, span.pixels.shape);
  add_list(hash, span.pixels.data);
  return hash.finish();
}

std::vector<RowKey> row_keys(const Prompt& prompt, const std::vector<Sha256Bytes>& media,
                             const std::vector<TokenRun>& spans) {
  std::vector<RowKey> keys;
  keys.reserve(prompt.tokens.size());
  for (const int32_t token : prompt.tokens) keys.push_back(key_of(token));
  for (size_t i = 0; i < prompt.media.size(); ++i) {
    RowKey first;
    std::memcpy(first.data(), media[i].data(), sizeof first);
    uint64_t row = 0;
    for (const auto& [begin, count] : token_runs(prompt.media[i])) {
      for (int at = begin; at < begin + count; ++at) {
        keys[static_cast<size_t>(at)] = {first[0] + row++, first[1] | kOfMedium};
      }
    }
  }
  for (const auto& [begin, count] : spans) {
    const std::span rows(keys.data() + begin, static_cast<size_t>(count));
    Sha256 hash;
    hash.add(std::as_bytes(rows));
    RowKey all;
    std::memcpy(all.data(), hash.finish().data(), sizeof all);
    for (auto& key : rows) key = {key[0] ^ all[0], key[1] ^ all[1]};
  }
  return keys;
}

}  // namespace fovea::generate
