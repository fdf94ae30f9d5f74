// What requests leave for later ones: rows of keys and values that another prompt may begin with,
// and features of pictures. Engine thread only.
#pragma once

#include "generate/cache/block_cache.h"
#include "generate/cache/feature_cache.h"
#include "generate/cache/prefix_cache.h"
#include "generate/request.h"
#include "models/model.h"

namespace fovea::generate {

class Reuse {
 public:
  struct Options {
    bool on = true;                    // or nothing is kept and nothing found
    bool rows = true;                  // or features alone
    bool recompute_generated = false;  // rows of answers are not kept
    int64_t feature_bytes = 0;
  };
  // `cache` makes room for its blocks by letting go of rows that are kept here; it and the model
  // outlive this.
  Reuse(const models::Model& model, BlockCache& cache, const Options& options);

  bool on() const { return options_.on; }
  int64_t rows() const { return prefixes_.rows(); }
  int64_t feature_bytes() const { return features_.bytes(); }

  // What a new request is known by.
  void survey(Request& request) const;

  // Rows that the request may begin with: all but the last at most, and no span in part.
  PrefixBlocks find_rows(const Request& request);

  // Keeps the rows of a request that has started: whole blocks, or all when its sequence ends.
  void leave_rows(Request& request, bool all);

  // encode_media() of the request's medium, evaluated; or what an older request left of it.
  mx::array features(Request& request, size_t medium);

 private:
  const models::Model& model_;
  BlockCache& cache_;
  Options options_;
  PrefixCache prefixes_;
  FeatureCache features_;
};

}  // namespace fovea::generate
