// Keys and values of each sequence in one growing buffer per layer, [K, C, D] so that the keys of a
// head lie together, in the dtype that the layer's AttentionSpec asks for, or in 8 bits; those of
// media states in one more per layer that looks across. Engine thread only.
#pragma once

#include <map>
#include <vector>

#include "kernels/attention.h"
#include "nn/kv_cache.h"

namespace fovea::generate {

namespace mx = mlx::core;

// What a cache makes room for with a prompt: some rows of the answer too.
int expected_rows(int prompt_length, int max_tokens);

class ContiguousCache : public nn::KvCache {
 public:
  struct Options {
    int num_layers = 0;
    // At most this many rows are kept: the first four and the newest; 0 keeps all. Rows keep the
    // positions that they were given. A chunk sees max_kv_size - 1 older rows, as the reference's
    // rotating cache gives it.
    int max_kv_size = 0;
    // 8 keeps keys and values in 8 bits, by groups of so many elements (kernels/kv_bytes.h), from
    // the step on that begins with so many rows; 0 keeps what the layer asks for. From row 0 on, a
    // row does not depend on how its prompt was cut.
    int kv_bits = 0;
    int kv_group_size = 64;
    int quantized_kv_start = 0;
  };

  explicit ContiguousCache(const Options& options) : options_(options) {}

  // Rows that a layer's buffers have room for at most, when `expected` were made room for, `first`
  // rows come at once and `length` in all, the others one by one.
  static int64_t capacity(int first, int length, int expected, int max_kv_size);

  // `expected_rows` are made room for at once.
  int add_sequence(int expected_rows = 0);
  void remove_sequence(int sequence);

  // Rows that the sequence holds.
  int length(int sequence) const;
  size_t sequence_count() const { return sequences_.size(); }

  // Every buffer, to be evaluated after a step whose logits nobody wants.
  std::vector<mx::array> buffers() const;

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
    mx::array k_KCD;
    mx::array v_KCD;
  };
  // Of a layer that looks across: all states, and those that rows looked at last.
  struct States {
    Layer all;
    TokenRun run;
    Layer seen;  // [S, K, D], views of `all`
  };
  struct Sequence {
    std::vector<Layer> layers;
    int length = 0;
    int expected_rows = 0;
    int rows = 0;  // that came, kept or not
    std::vector<nn::MediaView> views = {};
    std::vector<States> states = {};
  };

  kernels::AttentionOptions attention_options(const nn::AttentionSpec& spec, bool decode) const;
  int kept_length(int length) const;
  mx::array empty_keys(const mx::array& rows_TKD, int keys, mx::Dtype dtype) const;
  mx::array append(const mx::array& buffer, const mx::array& rows_TKD, int at) const;
  mx::array in_dtype(const mx::array& buffer, int length, mx::Dtype dtype) const;
  mx::array with_room(const mx::array* buffer, const Sequence& sequence, const mx::array& rows_TKD,
                      mx::Dtype dtype) const;
  Layer layer_with_room(int layer, const Sequence& sequence, const mx::array& k_TKD,
                        const mx::array& v_TKD, const nn::AttentionSpec& spec) const;
  void keep(int layer, Sequence& sequence, Layer kept, int rows) const;
  // Rows of one sequence.
  mx::array attend_prompt(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                          const mx::array& v_TKD, const nn::Segment& segment,
                          const nn::AttentionSpec& spec);
  // A generated row for each segment.
  mx::array attend_answers(int layer, const mx::array& q_THD, const mx::array& k_TKD,
                           const mx::array& v_TKD, std::span<const nn::Segment> segments,
                           const nn::AttentionSpec& spec);

  Options options_;
  std::map<int, Sequence> sequences_;
  int next_sequence_ = 0;
};

}  // namespace fovea::generate
