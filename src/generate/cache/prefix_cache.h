// Blocks of keys and values that sequences have left behind, found again by the rows that they are
// of: a prompt that begins as an older one did begins with its blocks. A tree of blocks: each holds
// up to kernels::kBlockRows rows behind those of its parent, compared key by key (row_keys.h).
// Engine thread only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "generate/cache/block_cache.h"
#include "generate/cache/row_keys.h"

namespace fovea::generate {

class PrefixCache {
 public:
  // How the kinds of layers forget, as the block cache has them.
  explicit PrefixCache(std::vector<Forgetting> kinds);
  ~PrefixCache();

  // The longest beginning of `keys`, of at most `rows_max` rows, that there is within `scope`, kept
  // in 8 bits or not. It is the newest now.
  PrefixBlocks find(const std::string& scope, bool bytes, std::span<const RowKey> keys,
                    int rows_max);

  // Keeps what `prefix` has of the rows `keys`. An incomplete last block is kept where `rest` says
  // so: then nobody may write to it any more.
  void insert(const std::string& scope, std::span<const RowKey> keys, const PrefixBlocks& prefix,
              bool rest);

  // Lets go of a block of the oldest rows, of those that no sequence holds; false when there is
  // none.
  bool make_room();

  size_t block_count() const { return newest_first_.size(); }
  int64_t rows() const { return rows_; }  // that can be found

 private:
  struct Node;
  using Nodes = std::list<Node*>;

  Node* child(Node& parent, std::span<const RowKey> rows) const;
  Node* closest_child(Node& parent, std::span<const RowKey> rows, int& common) const;
  bool has_what_rows_see(const std::vector<Node*>& path, int rows) const;
  void touch(const std::vector<Node*>& path);
  void remove(Node& node);

  std::vector<Forgetting> kinds_;
  std::map<std::pair<std::string, bool>, std::unique_ptr<Node>> roots_;  // by scope and bits
  Nodes newest_first_;  // a parent always before its children
  int64_t rows_ = 0;
};

}  // namespace fovea::generate
