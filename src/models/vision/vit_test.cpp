#include "models/vision/vit.h"

#include <gtest/gtest.h>

#include <numeric>

#include "mlx/ops.h"
#include "models/vision/patches.h"
#include "support/kernel_checks.h"

namespace fovea::models::vision {
namespace {

using testing::expect_equal_bits;
using testing::random;

class RandomWeights : public nn::PathVisitor {
 public:
  void quantizable(nn::QuantizableWeight&) override {}
  void parameter(const std::string&, mx::array& value) override {
    value = random(value.shape(), mx::bfloat16);
  }
};

HostTensor pictures(int count, int size) {
  HostTensor pixels{{count, 3, size, size}, {}};
  pixels.data.resize(static_cast<size_t>(count * 3 * size * size));
  for (size_t i = 0; i < pixels.data.size(); ++i) {
    pixels.data[i] = static_cast<float>(i * 2654435761u % 1000u) / 500 - 1;
  }
  return pixels;
}

HostTensor one_of(const HostTensor& pixels, int which) {
  HostTensor one{pixels.shape, {}};
  one.shape[0] = 1;
  const size_t values = pixels.data.size() / static_cast<size_t>(pixels.shape[0]);
  const auto first = pixels.data.begin() + static_cast<int64_t>(which * values);
  one.data.assign(first, first + static_cast<int64_t>(values));
  return one;
}

TEST(Vit, ManyPicturesHaveTheBitsOfEachAlone) {
  VitConfig config;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.image_size = 60;
  config.patch_size = 2;
  Vit vit(config);
  RandomWeights weights;
  vit.visit(weights);
  const int rows = vit.rows_per_picture();
  ASSERT_EQ(pictures_in_pass(rows), 2);
  const auto pixels = pictures(5, config.image_size);
  const auto all = vit.forward(pixels, {0, 2});
  ASSERT_EQ(all.size(), 2u);
  for (int i = 0; i < 5; ++i) {
    const auto alone = vit.forward(one_of(pixels, i), {0, 2});
    for (size_t layer = 0; layer < 2; ++layer) {
      expect_equal_bits(testing::rows(all[layer], i * rows, (i + 1) * rows), alone[layer],
                        fmt::format("picture {} state {}", i, layer));
    }
  }
}

TEST(Passes, TakeWhatFitsAndAtLeastOne) {
  EXPECT_EQ(pictures_in_pass(577), 3);
  EXPECT_EQ(pictures_in_pass(5000), 1);
  std::vector<int> sizes;
  const auto sums = in_passes(pictures(7, 4), 577, [&](const HostTensor& some) {
    sizes.push_back(some.shape[0]);
    const mx::array x(some.data.data(), {some.shape[0], 48}, mx::float32);
    return std::vector<mx::array>{mx::sum(x, 1)};
  });
  EXPECT_EQ(sizes, (std::vector<int>{3, 3, 1}));
  const auto all = pictures(7, 4);
  const mx::array x(all.data.data(), {7, 48}, mx::float32);
  expect_equal_bits(sums[0], mx::sum(x, 1), "sums");
}

}  // namespace
}  // namespace fovea::models::vision
