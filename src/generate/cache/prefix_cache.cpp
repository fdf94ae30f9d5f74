#include "generate/cache/prefix_cache.h"

#include <algorithm>
#include <cassert>

namespace fovea::generate {
namespace {

using kernels::kBlockRows;

uint64_t hash_of(std::span<const RowKey> rows) {
  uint64_t hash = rows.size();
  for (const auto& [low, high] : rows) {
    hash = (hash ^ low) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 32) ^ high) * 0xbf58476d1ce4e5b9u;
  }
  return hash;
}

int common_rows(std::span<const RowKey> a, std::span<const RowKey> b) {
  const size_t most = std::min(a.size(), b.size());
  return static_cast<int>(
      std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(most), b.begin()).first -
      a.begin());
}

}  // namespace

struct PrefixCache::Node {
  Node* parent = nullptr;
  std::vector<RowKey> rows;
  std::vector<BlockRef> blocks;  // of each kind; null where it was gone
  std::unordered_multimap<uint64_t, std::unique_ptr<Node>> children;  // by hash_of(rows)
  Nodes::iterator place;
};

PrefixCache::PrefixCache(std::vector<Forgetting> kinds) : kinds_(std::move(kinds)) {}
PrefixCache::~PrefixCache() = default;

PrefixCache::Node* PrefixCache::child(Node& parent, std::span<const RowKey> rows) const {
  const auto [begin, end] = parent.children.equal_range(hash_of(rows));
  for (auto it = begin; it != end; ++it) {
    if (std::equal(rows.begin(), rows.end(), it->second->rows.begin(), it->second->rows.end())) {
      return it->second.get();
    }
  }
  return nullptr;
}

// The child that begins most like `rows`, and with how many of them.
PrefixCache::Node* PrefixCache::closest_child(Node& parent, std::span<const RowKey> rows,
                                              int& common) const {
  Node* closest = nullptr;
  common = 0;
  for (const auto& [hash, node] : parent.children) {
    const int shared = common_rows(node->rows, rows);
    if (shared > common) {
      common = shared;
      closest = node.get();
    }
  }
  return closest;
}

// Whether the first `rows` rows have what the next row sees, in every kind.
bool PrefixCache::has_what_rows_see(const std::vector<Node*>& path, int rows) const {
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    const int first = kinds_[kind].first_seen(rows);
    for (auto i = static_cast<size_t>(first / kBlockRows); i < path.size(); ++i) {
      if (!path[i]->blocks[kind]) return false;
    }
  }
  return true;
}

PrefixBlocks PrefixCache::find(const std::string& scope, bool bytes, std::span<const RowKey> keys,
                               int rows_max) {
  const auto root = roots_.find({scope, bytes});
  if (root == roots_.end()) return {};
  keys = keys.first(std::min(keys.size(), static_cast<size_t>(std::max(0, rows_max))));
  std::vector<Node*> path;
  Node* node = root->second.get();
  int rows = 0;
  while (static_cast<size_t>(rows) < keys.size()) {
    const auto rest = keys.subspan(static_cast<size_t>(rows));
    Node* next = rest.size() >= kBlockRows ? child(*node, rest.first(kBlockRows)) : nullptr;
    int common = kBlockRows;
    if (!next) next = closest_child(*node, rest, common);
    if (!next) break;
    path.push_back(next);
    rows += common;
    if (common < kBlockRows) break;
    node = next;
  }
  while (!path.empty() && !has_what_rows_see(path, rows)) {
    path.pop_back();
    rows = static_cast<int>(path.size()) * kBlockRows;
  }
  if (path.empty()) return {};
  PrefixBlocks prefix{rows, bytes};
  prefix.kinds.resize(kinds_.size());
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    const auto first = static_cast<size_t>(kinds_[kind].first_seen(rows) / kBlockRows);
    for (size_t i = 0; i < path.size(); ++i) {
      prefix.kinds[kind].push_back(i < first ? nullptr : path[i]->blocks[kind]);
    }
  }
  touch(path);
  return prefix;
}

void PrefixCache::insert(const std::string& scope, std::span<const RowKey> keys,
                         const PrefixBlocks& prefix, bool rest) {
  const int rows = std::min(prefix.rows, static_cast<int>(keys.size()));
  auto& root = roots_[{scope, prefix.bytes}];
  if (!root) root = std::make_unique<Node>();
  Node* node = root.get();
  std::vector<Node*> path;
  for (int at = 0; at < rows; at += kBlockRows) {
    const int count = std::min(kBlockRows, rows - at);
    if (count < kBlockRows && !rest) break;
    const auto own = keys.subspan(static_cast<size_t>(at), static_cast<size_t>(count));
    const auto block = static_cast<size_t>(at / kBlockRows);
    Node* next = child(*node, own);
    if (!next) {
      int common = 0;
      Node* older = closest_child(*node, own, common);
      auto made = std::make_unique<Node>();
      made->parent = node;
      made->rows.assign(own.begin(), own.end());
      made->blocks.resize(kinds_.size());
      made->place = newest_first_.insert(newest_first_.begin(), made.get());
      rows_ += count;
      next = made.get();
      node->children.emplace(hash_of(own), std::move(made));
      // The same rows, when there were fewer of them.
      if (older && older->children.empty() && older->rows.size() == static_cast<size_t>(common)) {
        remove(*older);
      }
    }
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      auto& kept = next->blocks[kind];
      if (!kept) kept = prefix.kinds[kind][block];
    }
    path.push_back(next);
    node = next;
  }
  touch(path);
}

// Children first, so that each parent is newer than they are.
void PrefixCache::touch(const std::vector<Node*>& path) {
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    newest_first_.splice(newest_first_.begin(), newest_first_, (*it)->place);
  }
}

void PrefixCache::remove(Node& node) {
  assert(node.children.empty());
  newest_first_.erase(node.place);
  rows_ -= static_cast<int64_t>(node.rows.size());
  Node& parent = *node.parent;
  auto& siblings = parent.children;
  const auto [begin, end] = siblings.equal_range(hash_of(node.rows));
  for (auto it = begin; it != end; ++it) {
    if (it->second.get() != &node) continue;
    siblings.erase(it);
    break;
  }
  if (parent.parent || !siblings.empty()) return;
  std::erase_if(roots_, [&](const auto& root) { return root.second.get() == &parent; });
}

bool PrefixCache::make_room() {
  for (auto it = newest_first_.rbegin(); it != newest_first_.rend(); ++it) {
    Node& node = **it;
    const bool held = std::any_of(node.blocks.begin(), node.blocks.end(),
                                  [](const BlockRef& block) { return block.use_count() > 1; });
    if (!held && node.children.empty()) {
      remove(node);
      return true;
    }
    // Of layers that forget, what no sequence holds: the rows after it can be found without.
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      auto& block = node.blocks[kind];
      if (kinds_[kind] == Forgetting{} || !block || block.use_count() > 1) continue;
      block.reset();
      return true;
    }
  }
  return false;
}

}  // namespace fovea::generate
