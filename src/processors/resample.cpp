#include "processors/resample.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace fovea::processors {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;

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
      const double fixed = weight * (1 << kPrecisionBits);
      taps.weights.push_back(static_cast<int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    all.push_back(std::move(taps));
  }
  return all;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

Image horizontal(const Image& in, int width, const Kernel& kernel) {
  const auto taps = taps_of(in.size.width, width, kernel);
  Image out;
  out.size = {width, in.size.height};
  out.rgb.resize(size_t{3} * static_cast<size_t>(width) * static_cast<size_t>(in.size.height));
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < in.size.height; ++y) {
    const uint8_t* row = in.rgb.data() + int64_t{3} * y * in.size.width;
    for (const auto& tap : taps) {
      int32_t sums[3] = {kHalf, kHalf, kHalf};
      const uint8_t* from = row + int64_t{3} * tap.first;
      for (const int32_t weight : tap.weights) {
        sums[0] += from[0] * weight;
        sums[1] += from[1] * weight;
        sums[2] += from[2] * weight;
        from += 3;
      }
      for (const int32_t sum : sums) *to++ = rounded(sum);
    }
  }
  return out;
}

Image vertical(const Image& in, int height, const Kernel& kernel) {
  const auto taps = taps_of(in.size.height, height, kernel);
  const size_t row_bytes = size_t{3} * static_cast<size_t>(in.size.width);
  Image out;
  out.size = {in.size.width, height};
  out.rgb.resize(row_bytes * static_cast<size_t>(height));
  std::vector<int32_t> sums(row_bytes);
  uint8_t* to = out.rgb.data();
  for (const auto& tap : taps) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const uint8_t* from = in.rgb.data() + static_cast<size_t>(tap.first) * row_bytes;
    for (const int32_t weight : tap.weights) {
      for (size_t i = 0; i < row_bytes; ++i) sums[i] += from[i] * weight;
      from += row_bytes;
    }
    for (size_t i = 0; i < row_bytes; ++i) to[i] = rounded(sums[i]);
    to += row_bytes;
  }
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
