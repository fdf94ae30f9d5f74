#include "kernels/kv_bytes.h"

#include "base/error.h"
#include "mlx/ops.h"

namespace fovea::kernels {
namespace {

constexpr int kCodesTogether = 32;

int columns_of(int head_dim) {
  return (head_dim + kCodesTogether - 1) / kCodesTogether * kCodesTogether;
}

int groups_of(int head_dim, int group_size) { return (head_dim + group_size - 1) / group_size; }

}  // namespace

int kv_row_bytes(int head_dim, int group_size) {
  if (group_size != 32 && group_size != 64 && group_size != 128) {
    fail(ErrorKind::kInvalidArgument, "[kv_group_size] expected 32, 64 or 128 but got {}",
         group_size);
  }
  const int floats = 2 * groups_of(head_dim, group_size);
  return columns_of(head_dim) + floats * static_cast<int>(sizeof(float));
}

mx::array kv_from_bytes(const mx::array& rows, int head_dim, int group_size) {
  const size_t last = rows.ndim() - 1;
  const int axis = static_cast<int>(last);
  const auto part = [&](int begin, int end) {
    mx::Shape start(rows.ndim(), 0);
    mx::Shape stop = rows.shape();
    start[last] = begin;
    stop[last] = end;
    return mx::contiguous(mx::slice(rows, start, stop));
  };
  const auto scales = mx::view(part(columns_of(head_dim), rows.shape(axis)), mx::float32);
  mx::Shape pairs = scales.shape();
  pairs[last] = groups_of(head_dim, group_size);
  pairs.push_back(2);
  const auto each = [&](int i) {
    const auto of_groups = mx::take(mx::reshape(scales, pairs), i, axis + 1);
    const auto wide = mx::repeat(of_groups, group_size, axis);
    mx::Shape stop = wide.shape();
    stop[last] = head_dim;
    return mx::slice(wide, mx::Shape(rows.ndim(), 0), stop);
  };
  const auto codes = mx::astype(part(0, head_dim), mx::float32);
  return mx::add(mx::multiply(codes, each(0)), each(1));
}

}  // namespace fovea::kernels
