#include "kernels/block_attention.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "kernels/append_rows.h"
#include "kernels/attention_work.h"
#include "kernels/kv_bytes.h"
#include "kernels/views.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace fovea::kernels {
namespace {

static_assert(kBlockRows % isa::kPlaceKeys == 0);

constexpr int kGrain = 16 * 1024;  // elements, below which a thread is not worth waking

enum class Part { kKeys, kValues };

int64_t row_offset(const BlockLayout& layout, Part part, int head, int row) {
  const int64_t first = part == Part::kKeys ? 0 : int64_t{layout.heads} * kBlockRows;
  return layout.offset + (first + int64_t{head} * kBlockRows + row) * layout.row_bytes();
}

void check_runs(const mx::array& q, const mx::array& k, const mx::array& v,
                const std::vector<BlockRun>& runs, const BlockLayout& layout) {
  const bool fits = q.ndim() == 3 && k.ndim() == 3 && k.shape() == v.shape() &&
                    q.shape(0) == k.shape(0) && q.shape(2) == k.shape(2) &&
                    k.shape(1) == layout.heads && k.shape(2) == layout.head_dim &&
                    layout.heads > 0 && q.shape(1) % layout.heads == 0 && layout.head_dim > 0 &&
                    layout.head_dim <= kHeadDimMax;
  if (!fits) {
    fail(ErrorKind::kInvalidData,
         "[attention] expected q [T, H, D] and k, v [T, {}, {}] with D <= {} and H a multiple of "
         "them but got {}, {} and {}",
         layout.heads, layout.head_dim, kHeadDimMax, shape_text(q), shape_text(k), shape_text(v));
  }
  int rows = 0;
  for (const auto& run : runs) {
    const int blocks = (run.past + run.count + kBlockRows - 1) / kBlockRows;
    if (run.begin != rows || run.past < 0 || static_cast<int>(run.blocks.size()) < blocks) {
      fail(ErrorKind::kInvalidData,
           "[attention] expected a run from row {} on with {} blocks of keys but got one from {} "
           "with {}",
           rows, blocks, run.begin, run.blocks.size());
    }
    rows += run.count;
  }
  if (rows != q.shape(0)) {
    fail(ErrorKind::kInvalidData, "[attention] expected runs of {} rows but got {}", q.shape(0),
         rows);
  }
}

// The rows of a step into the blocks of their sequences.
void write_rows(const BlockWork& work, const Arrays& in) {
  const BlockLayout& layout = work.layout;
  const Floats keys(in[1]);
  const Floats values(in[2]);
  const int64_t row_floats = int64_t{layout.heads} * layout.head_dim;
  const auto write_run = [&](const BlockRun& run, int begin, int end) {
    for (int i = begin; i < end; ++i) {
      std::byte* block = run.blocks[static_cast<size_t>((run.past + i) / kBlockRows)];
      const int row = (run.past + i) % kBlockRows;
      for (const auto& [part, rows] :
           {std::pair(Part::kKeys, &keys), std::pair(Part::kValues, &values)}) {
        const float* from = rows->data() + (run.begin + i) * row_floats;
        for (int head = 0; head < layout.heads; ++head, from += layout.head_dim) {
          write_kv_row(from, layout.head_dim, layout.dtype, layout.group_size,
                       block + row_offset(layout, part, head, row));
        }
      }
    }
  };
  const auto grain = static_cast<int>(std::max<int64_t>(1, kGrain / row_floats));
  for (const auto& run : *work.runs) {
    if (run.count < 2 * grain) {
      write_run(run, 0, run.count);
    } else {
      parallel_for(run.count, grain, [&](int begin, int end) { write_run(run, begin, end); });
    }
  }
}

// The run's keys or values from its first block on, [K, S, row].
mx::array gathered(const BlockLayout& layout, Part part, const BlockRun& run, int first_block,
                   int keys) {
  const int64_t row_bytes = layout.row_bytes();
  const int rows = keys - first_block * kBlockRows;
  std::vector<std::byte> all(static_cast<size_t>(layout.heads * rows * row_bytes));
  for (int head = 0; head < layout.heads; ++head) {
    for (int row = 0; row < rows; row += kBlockRows) {
      const std::byte* block = run.blocks[static_cast<size_t>(first_block + row / kBlockRows)];
      std::memcpy(all.data() + (int64_t{head} * rows + row) * row_bytes,
                  block + row_offset(layout, part, head, 0),
                  static_cast<size_t>(std::min(kBlockRows, rows - row) * row_bytes));
    }
  }
  const auto elements = static_cast<int>(row_bytes / mx::size_of(layout.dtype));
  const mx::Shape shape = {layout.heads, rows, elements};
  if (layout.dtype == mx::float32) {
    return mx::array(reinterpret_cast<const float*>(all.data()), shape, mx::float32);
  }
  if (layout.dtype == mx::bfloat16) {
    return mx::view(mx::array(reinterpret_cast<const uint16_t*>(all.data()), shape, mx::uint16),
                    mx::bfloat16);
  }
  return mx::array(reinterpret_cast<const uint8_t*>(all.data()), shape, mx::uint8);
}

mx::array fallback(const BlockWork& work, const Arrays& inputs) {
  Arrays in;
  for (const auto& input : inputs) in.push_back(mx::contiguous(input));
  mx::eval(in);
  write_rows(work, in);
  Arrays outputs;
  for (size_t i = 0; i < work.runs->size(); ++i) {
    const BlockRun& run = (*work.runs)[i];
    if (run.count == 0) continue;
    const int keys = run.past + run.count;
    const auto present = std::find_if(run.blocks.begin(), run.blocks.end(),
                                      [](const std::byte* block) { return block != nullptr; });
    const auto first_block = static_cast<int>(present - run.blocks.begin());
    const int first_key = first_block * kBlockRows;
    Stretch stretch{0, 0, work.seen[i]};
    for (auto& seen : stretch.seen) {
      seen.begin -= first_key;
      seen.end -= first_key;
    }
    Work one{work.heads,   KeyAxes::kHeadsFirst, {std::move(stretch)},
             work.options, keys - first_key,     work.bf16[i]};
    one.sinks = work.sinks;
    Arrays own = {rows_of(in[0], run.begin, run.begin + run.count),
                  gathered(work.layout, Part::kKeys, run, first_block, keys),
                  gathered(work.layout, Part::kValues, run, first_block, keys)};
    if (work.sinks) own.push_back(in.back());
    outputs.push_back(attention_fallback(one, own));
  }
  return joined_rows(outputs);
}

// What each row of the run sees.
std::vector<isa::KeyRange> seen_by(const BlockRun& run, AttentionOptions options) {
  options.spans = run.spans;
  std::vector<isa::KeyRange> seen;
  seen.reserve(static_cast<size_t>(run.count));
  for (int i = 0; i < run.count; ++i) {
    seen.push_back(causal_keys(run.past + i, options));
    seen.back().begin = std::max(seen.back().begin, run.first_seen);
  }
  return seen;
}

}  // namespace

int64_t BlockLayout::row_bytes() const {
  if (dtype == mx::uint8) return kv_row_bytes(head_dim, group_size);
  return int64_t{head_dim} * mx::size_of(dtype);
}

int64_t BlockLayout::bytes() const { return 2 * int64_t{heads} * kBlockRows * row_bytes(); }

mx::array block_attention(const mx::array& q_THD, const mx::array& k_TKD, const mx::array& v_TKD,
                          std::shared_ptr<const std::vector<BlockRun>> runs,
                          const BlockLayout& layout, const AttentionOptions& options) {
  check_runs(q_THD, k_TKD, v_TKD, *runs, layout);
  BlockWork work{
      {q_THD.shape(1), layout.heads, layout.head_dim}, layout, std::move(runs), {}, {}, options};
  work.sinks = options.sinks.has_value();
  work.options.sinks.reset();
  work.options.kv_group_size = layout.group_size;
  bool any_bf16 = false;
  for (const auto& run : *work.runs) {
    check_spans(run.spans, run.past + run.count);
    work.seen.push_back(seen_by(run, work.options));
    AttentionOptions of_run = work.options;
    of_run.decode = run.decode;
    work.bf16.push_back(has_bf16_products(layout.dtype, layout.dtype, of_run));
    any_bf16 = any_bf16 || work.bf16.back();
  }
  Arrays inputs = {as_float32(q_THD), as_float32(k_TKD), as_float32(v_TKD)};
  if (options.sinks) inputs.push_back(as_float32(*options.sinks));
  Op op;
  op.name = "fovea::block_attention";
  op.shape = q_THD.shape();
  op.fallback = [work](const Arrays& in) { return fallback(work, in); };
  op.run = [work = std::move(work)](const Arrays& in, float* out) {
    write_rows(work, in);
    run_block_attention(work, in, out);
  };
  if (any_bf16) op.tolerance = kBFloat16Tolerance;
  return make_op(std::move(op), inputs);
}

void copy_block_rows(const BlockLayout& layout, const std::byte* from, int from_row, std::byte* to,
                     int to_row, int rows) {
  for (const Part part : {Part::kKeys, Part::kValues}) {
    for (int head = 0; head < layout.heads; ++head) {
      std::memmove(to + row_offset(layout, part, head, to_row),
                   from + row_offset(layout, part, head, from_row),
                   static_cast<size_t>(rows * layout.row_bytes()));
    }
  }
}

void block_rows_to_bytes(const BlockLayout& layout, const std::byte* from, const BlockLayout& bytes,
                         std::byte* to, int rows) {
  std::vector<float> row(static_cast<size_t>(layout.head_dim));
  for (const Part part : {Part::kKeys, Part::kValues}) {
    for (int i = 0; i < layout.heads * rows; ++i) {
      const std::byte* source = from + row_offset(layout, part, i / rows, i % rows);
      if (layout.dtype == mx::float32) {
        std::memcpy(row.data(), source, row.size() * sizeof(float));
      } else {
        for (size_t d = 0; d < row.size(); ++d) {
          uint32_t bits = 0;
          std::memcpy(reinterpret_cast<std::byte*>(&bits) + 2, source + 2 * d, 2);
          std::memcpy(&row[d], &bits, sizeof bits);
        }
      }
      write_kv_row(row.data(), bytes.head_dim, mx::uint8, bytes.group_size,
                   to + row_offset(bytes, part, i / rows, i % rows));
    }
  }
}

}  // namespace fovea::kernels
