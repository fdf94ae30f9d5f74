// Prompt rows through the panels of isa.h, with all threads: what products and their gradients
// share. For the thread that runs ops, inside an op's run.
#pragma once

#include "kernels/isa/isa.h"

namespace fovea::kernels {

// Lays out the rows of x and runs `product`, whose x this sets: rows of w.inputs() floats, or with
// `column_stride` columns, as `prepare_turned` takes them.
void multiply_prompt_rows(const isa::PromptRows& how, isa::PromptProduct product, const float* x,
                          int64_t column_stride = 0);

}  // namespace fovea::kernels
