#include "processors/resample.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/error.h"
#include "base/thread_pool.h"
#include "processors/weigh.h"

namespace fovea::processors {
namespace {

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= std::numbers::pi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return {box, 0.5};
    case Filter::kBilinear:
      return {bilinear, 1.0};
    case Filter::kHamming:
      return {hamming, 1.0};
    case Filter::kBicubic:
      return {bicubic, 2.0};
    default:
      return {lanczos, 3.0};
  }
}

// Which inputs an output takes, and how much of each in fixed point.
struct Taps {
  int first;
  std::vector<int32_t> weights;
};

std::vector<Taps> taps_of(int in_size, int out_size, const Kernel& kernel) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel.support * filter_scale;
  const double step = 1.0 / filter_scale;
  std::vector<Taps> all;
  std::vector<double> weights;
  for (int out = 0; out < out_size; ++out) {
    const double center = (out + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(in_size, static_cast<int>(center + support + 0.5));
    weights.clear();
    double sum = 0;
    for (int i = first; i < last; ++i) {
      weights.push_back(kernel.weight((i - center + 0.5) * step));
      sum += weights.back();
    }
    Taps taps{first, {}};
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double fixed = weight * (1 << kWeightBits);
      taps.weights.push_back(static_cast<int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    all.push_back(std::move(taps));
  }
  return all;
}

// Rows that the first pass takes side by side, and what a pixel of them takes.
constexpr size_t kStripRows = 16;
constexpr size_t kPixelBytes = 3 * kStripRows;

using Bytes16 [[gnu::vector_size(16)]] = uint8_t;
using RowPointers = std::array<const uint8_t*, kStripRows>;

// 16 by 16 bytes, rows to columns: four rounds of interleaving each row with the one eight further.
void turn_square(std::array<Bytes16, 16>& square) {
  for (int round = 0; round < 4; ++round) {
    std::array<Bytes16, 16> mixed;
    for (size_t i = 0; i < 8; ++i) {
      const Bytes16 a = square[i];
      const Bytes16 b = square[i + 8];
      mixed[2 * i] =
          __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      mixed[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                                 14, 30, 15, 31);
    }
    square = mixed;
  }
}

// `count` bytes of 16 rows become columns of 16 bytes, one after another.
void rows_to_columns(const RowPointers& rows, size_t count, uint8_t* columns) {
  std::array<Bytes16, 16> square;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (size_t r = 0; r < 16; ++r) std::memcpy(&square[r], rows[r] + i, 16);
    turn_square(square);
    std::memcpy(columns + i * 16, square.data(), sizeof(square));
  }
  for (; i < count; ++i) {
    for (size_t r = 0; r < 16; ++r) columns[i * 16 + r] = rows[r][i];
  }
}

// The way back, for the first `wanted` rows of what lies `stride` bytes apart.
void columns_to_rows(const uint8_t* columns, size_t count, uint8_t* rows, size_t stride,
                     size_t wanted) {
  std::array<Bytes16, 16> square;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    std::memcpy(square.data(), columns + i * 16, sizeof(square));
    turn_square(square);
    for (size_t r = 0; r < wanted; ++r) std::memcpy(rows + r * stride + i, &square[r], 16);
  }
  for (; i < count; ++i) {
    for (size_t r = 0; r < wanted; ++r) rows[r * stride + i] = columns[i * 16 + r];
  }
}

// Outputs that are worth a thread, when one takes this many products.
int grain(double products) {
  constexpr double kProductsMin = 1 << 18;  // some ten microseconds
  return static_cast<int>(std::clamp(kProductsMin / products, 1.0, 1e6));
}

double products(const std::vector<Taps>& taps) {
  size_t total = 0;
  for (const auto& tap : taps) total += tap.weights.size();
  return static_cast<double>(total);
}

Image empty_image(Size size) {
  Image image;
  image.size = size;
  image.rgb.resize(size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height));
  return image;
}

// Sixteen rows stand side by side, so that both passes are the same sum over neighbours.
Image horizontal(const Image& in, int width, const Kernel& kernel) {
  const auto taps = taps_of(in.size.width, width, kernel);
  const size_t height = static_cast<size_t>(in.size.height);
  const size_t in_bytes = size_t{3} * static_cast<size_t>(in.size.width);
  const size_t out_bytes = size_t{3} * static_cast<size_t>(width);
  Image out = empty_image({width, in.size.height});
  const int strips = static_cast<int>((height + kStripRows - 1) / kStripRows);
  parallel_for(strips, grain(products(taps) * kPixelBytes), [&](int begin, int end) {
    PageVector<uint8_t> columns(in_bytes * kStripRows);
    PageVector<uint8_t> sums(out_bytes * kStripRows);
    for (int strip = begin; strip < end; ++strip) {
      const size_t y = static_cast<size_t>(strip) * kStripRows;
      const size_t rows = std::min(kStripRows, height - y);
      RowPointers from;  // the last row stands for those behind it
      for (size_t r = 0; r < kStripRows; ++r) {
        from[r] = in.rgb.data() + (y + std::min(r, rows - 1)) * in_bytes;
      }
      rows_to_columns(from, in_bytes, columns.data());
      uint8_t* to = sums.data();
      for (const auto& tap : taps) {
        weigh()(columns.data() + static_cast<size_t>(tap.first) * kPixelBytes, kPixelBytes,
                tap.weights, to, kPixelBytes);
        to += kPixelBytes;
      }
      columns_to_rows(sums.data(), out_bytes, out.rgb.data() + y * out_bytes, out_bytes, rows);
    }
  });
  return out;
}

Image vertical(const Image& in, int height, const Kernel& kernel) {
  const auto taps = taps_of(in.size.height, height, kernel);
  const size_t row_bytes = size_t{3} * static_cast<size_t>(in.size.width);
  Image out = empty_image({in.size.width, height});
  const double row_products = products(taps) / height * static_cast<double>(row_bytes);
  parallel_for(height, grain(row_products), [&](int begin, int end) {
    for (int y = begin; y < end; ++y) {
      const auto& [first, weights] = taps[static_cast<size_t>(y)];
      weigh()(in.rgb.data() + static_cast<size_t>(first) * row_bytes, row_bytes, weights,
              out.rgb.data() + static_cast<size_t>(y) * row_bytes, row_bytes);
    }
  });
  return out;
}

// Positions are summed step by step, as Pillow sums them.
std::vector<int> nearest_indices(int in_size, int out_size) {
  const double step = static_cast<double>(in_size) / out_size;
  std::vector<int> indices;
  double position = step * 0.5;
  for (int i = 0; i < out_size; ++i, position += step) {
    indices.push_back(std::min(static_cast<int>(position), in_size - 1));
  }
  return indices;
}

Image nearest(const Image& in, Size size) {
  const auto columns = nearest_indices(in.size.width, size.width);
  Image out;
  out.size = size;
  out.rgb.reserve(size_t{3} * static_cast<size_t>(size.width) * static_cast<size_t>(size.height));
  for (const int y : nearest_indices(in.size.height, size.height)) {
    const uint8_t* row = in.rgb.data() + int64_t{3} * y * in.size.width;
    for (const int x : columns) out.rgb.insert(out.rgb.end(), row + 3 * x, row + 3 * x + 3);
  }
  return out;
}

}  // namespace

Filter filter_from_number(int number) {
  if (number < 0 || number > 5) {
    fail(ErrorKind::kInvalidData,
         "[preprocessor_config.json] expected a number from 0 to 5 at 'resample' but got {}",
         number);
  }
  return static_cast<Filter>(number);
}

Size fitted(Size picture, Size box) {
  const double ratio = std::min(box.width / static_cast<double>(picture.width),
                                box.height / static_cast<double>(picture.height));
  return {std::max(1, static_cast<int>(picture.width * ratio)),
          std::max(1, static_cast<int>(picture.height * ratio))};
}

Image resize(const Image& image, Size size, Filter filter) {
  assert(size.width > 0 && size.height > 0);
  if (image.size == size) return image;
  if (filter == Filter::kNearest) return nearest(image, size);
  const Kernel kernel = kernel_of(filter);
  if (image.size.width == size.width) return vertical(image, size.height, kernel);
  if (image.size.height == size.height) return horizontal(image, size.width, kernel);
  // The order shows in the bits, since the first pass rounds: Pillow shrinks columns first.
  const bool column = image.size.height > int64_t{100} * image.size.width;
  if (column && size.height < image.size.height) {
    return horizontal(vertical(image, size.height, kernel), size.width, kernel);
  }
  return vertical(horizontal(image, size.width, kernel), size.height, kernel);
}

}  // namespace fovea::processors
