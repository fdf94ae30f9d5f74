// What a prompt's rows are known by, so that two prompts that begin alike are seen to do so. Any
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/sha256.h"
#include "core/prompt.h"

namespace fovea::generate {

// Rows with the same key, behind the same rows, have the same input: a token, or a row of a
// medium's features by the medium's contents.
using RowKey = std::array<uint64_t, 2>;

RowKey key_of(int32_t token);

// Of what a tower sees of a medium, and of what decides its rows' positions.
Sha256Bytes content_hash(const MediaSpan& span);

// Of all rows of a prompt, whose media have these hashes. Rows of a span see each other, so that
// each is known by all of them.
std::vector<RowKey> row_keys(const Prompt& prompt, const std::vector<Sha256Bytes>& media,
                             const std::vector<TokenRun>& spans = {});

}  // namespace fovea::generate
