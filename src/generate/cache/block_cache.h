// Keys and values of many sequences in blocks of kernels::kBlockRows rows: one block holds those
// rows of all layers of a kind, and a sequence is a list of blocks for each kind. Sequences that
// begin alike share blocks; layers with a window give back what no row will see again. Engine
// thread only.
//
// A kind is the layers that forget alike: those without a window, those with one of this size.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "generate/cache/block_memory.h"
#include "kernels/block_attention.h"
#include "nn/kv_cache.h"

namespace fovea::generate {

namespace mx = mlx::core;

// There is no room for a block: Error(kBusy).
struct NoRoom : Error {
  using Error::Error;
};

// How layers of a kind forget; see nn::AttentionSpec.
struct Forgetting {
  int window = 0;
  int chunk = 0;
  bool operator==(const Forgetting&) const = default;

  // The first row that the row at `position`, or any later one, sees.
  int first_seen(int position) const;
};

// The first rows of a sequence, as they lie.
struct PrefixBlocks {
  int rows = 0;
  bool bytes = false;  // in 8 bits
  // Of each kind, as many as the rows take; null where nothing behind the prefix sees any of it.
  std::vector<std::vector<BlockRef>> kinds = {};
};

class BlockCache : public nn::KvCache {
 public:
  struct Options {
    std::vector<nn::KvLayer> layers;
    // Rows that a sequence keeps of those it had before a step: the first four and the newest, at
    // the positions that they were given. A chunk sees max_kv_size - 1 older rows, as the
    // reference's does. 0 is all.
    int max_kv_size = 0;
    // 8, or 0 for what the layer asks for. A sequence changes to 8 bits in the step that finds so
    // many rows kept, and stays there.
    int kv_bits = 0;
    int kv_group_size = 64;
    int quantized_kv_start = 0;
    int64_t bytes_max = 0;  // of all blocks; 0 is no bound
  };

  explicit BlockCache(Options options);

  // What one sequence of `rows` rows takes that come by up to `step` at once, without 8 bits.
  static int64_t estimated_bytes(const std::vector<nn::KvLayer>& layers, int rows, int step,
                                 int max_kv_size);

  int add_sequence();
  // One that begins with rows which are there: whole blocks are shared, what is left of the last is
  // copied. Throws NoRoom as attend() does.
  int add_sequence(const PrefixBlocks& prefix);
  void remove_sequence(int sequence);

  int length(int sequence) const;  // rows that came
  int kept_rows(int sequence) const;
  size_t sequence_count() const { return sequences_.size(); }
  // What a sequence has that another may begin with; no rows where max_kv_size has taken some.
  PrefixBlocks prefix(int sequence) const;
  // Whether a sequence of so many rows would have them in 8 bits.
  bool in_bytes(int rows) const;

  const std::vector<Forgetting>& kinds() const { return kinds_; }
  int64_t bytes_in_use() const { return memory_.bytes_in_use(); }
  int64_t bytes_max() const { return memory_.bytes_max(); }
  // Asked when there is no room for a block; true when it has let go of one.
  void set_make_room(std::function<bool()> make_room) { make_room_ = std::move(make_room); }

  // What must be evaluated for the blocks to hold the step's rows, of which all layers came.
  const mx::array& step_output() const { return output_.value(); }
  // It has been: the step's rows stay.
  void keep_step();
  // The step is given up, whether all its layers came or not: its sequences have the rows that they
  // had before it.
  void abandon_step();
  // Keys and values of media states, to be evaluated once they are kept.
  std::vector<mx::array> states() const;

  // As nn::KvCache says; throws NoRoom when the blocks' bound leaves none for the rows.
  mx::array attend(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                   const mx::array& v_TKD, std::span<const nn::Segment> segments,
                   const nn::AttentionSpec& spec) override;

  void set_views(int sequence, std::vector<nn::MediaView> views) override;
  // In 8 bits where there are quantized_kv_start states, for as long as the sequence lives.
  void keep_states(int layer, int sequence, const mx::array& k_SKD, const mx::array& v_SKD,
                   const nn::AttentionSpec& spec) override;
  std::vector<nn::LookingRows> looking_rows(std::span<const nn::Segment> segments) const override;
  mx::array attend_across(int layer, const mx::array& q_UHD,
                          std::span<const nn::LookingRows> looking,
                          const nn::AttentionSpec& spec) override;

 private:
  struct Layer {
    size_t kind;
    kernels::BlockLayout plain;
    kernels::BlockLayout bytes;
    const kernels::BlockLayout& layout(bool in_bytes) const { return in_bytes ? bytes : plain; }
  };
  // Of a layer that looks across: all states, and those that rows looked at last.
  struct KeysAndValues {
    mx::array k;
    mx::array v;
  };
  struct States {
    KeysAndValues all;  // [K, S, D]
    TokenRun run;
    KeysAndValues seen;  // [S, K, D], views of `all`
  };
  struct Sequence {
    std::vector<std::vector<BlockRef>> kinds;
    int length = 0;
    int first_seen = 0;  // rows before it went for max_kv_size, or are the first ones, moved up
    bool bytes = false;
    std::vector<nn::MediaView> views = {};
    std::vector<States> states = {};
  };
  // Sequences of a step, one behind the other, whose blocks are alike.
  struct Group {
    bool bytes = false;
    int begin = 0;  // rows
    int end = 0;
    std::vector<std::vector<kernels::BlockRun>> kinds;  // runs, counted from `begin`
  };
  // What one step's layers share. Ops hold it, and so the blocks, until they have run.
  struct Step {
    std::vector<Group> groups;
    std::vector<BlockRef> blocks;
  };

  BlockRef take(size_t kind, bool bytes);
  BlockRef copy_of(size_t kind, bool bytes, const BlockRef& from, int rows);
  void begin_step(std::span<const nn::Segment> segments);
  void end_step(std::span<const nn::Segment> segments);
  void make_ready(Sequence& sequence, int count);
  void forget(Sequence& sequence);
  void move_first_rows(Sequence& sequence);
  void change_to_bytes(Sequence& sequence);
  kernels::AttentionOptions attention_options(const nn::AttentionSpec& spec) const;

  Options options_;
  std::vector<Forgetting> kinds_;
  std::vector<Layer> layers_;
  std::vector<int64_t> plain_bytes_;  // of a block, by kind
  std::vector<int64_t> byte_bytes_;
  BlockMemory memory_;
  std::function<bool()> make_room_;
  std::map<int, Sequence> sequences_;
  int next_sequence_ = 0;
  std::shared_ptr<Step> step_;              // while its layers come
  std::vector<std::pair<int, int>> ended_;  // sequences and rows of a step that may be given up
  std::optional<mx::array> output_;
};

}  // namespace fovea::generate
