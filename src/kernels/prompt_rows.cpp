#include "kernels/prompt_rows.h"

#include <algorithm>
#include <vector>

#include "kernels/op.h"

namespace fovea::kernels {

void multiply_prompt_rows(const isa::PromptRows& how, isa::PromptProduct product, const float* x,
                          int64_t column_stride) {
  thread_local std::vector<std::byte> memory;
  const auto& w = product.w;
  const size_t block_bytes = how.block_bytes(w);
  const int blocks = (product.rows + how.block_rows - 1) / how.block_rows;
  std::byte* packed = kept(memory, block_bytes * static_cast<size_t>(blocks));
  parallel_for(blocks, 1, [&](int begin, int end) {
    for (int b = begin; b < end; ++b) {
      const int row = b * how.block_rows;
      const int rows = std::min(how.block_rows, product.rows - row);
      std::byte* block = packed + static_cast<size_t>(b) * block_bytes;
      if (column_stride != 0) {
        how.prepare_turned(x + row, column_stride, rows, w, block);
      } else {
        how.prepare(x + int64_t{row} * w.inputs(), rows, w, block);
      }
    }
  });
  product.x = packed;
  const int panels = (product.n + how.panel_columns - 1) / how.panel_columns;
  parallel_for(panels, 1, [&](int begin, int end) {
    thread_local std::vector<std::byte> scratch;
    how.product(product, begin * how.panel_columns, std::min(product.n, end * how.panel_columns),
                kept(scratch, how.scratch_bytes));
  });
}

}  // namespace fovea::kernels
