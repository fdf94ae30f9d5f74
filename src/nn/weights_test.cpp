#include "nn/weights.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/norm.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea::nn {
namespace {

struct Tensor {
  std::string name;
  std::string dtype;
  std::vector<int> shape;
};

// A safetensors file of zeros.
std::string file_of(const std::vector<Tensor>& tensors) {
  JsonObject header;
  int64_t end = 0;
  for (const auto& tensor : tensors) {
    int64_t bytes = tensor.dtype.ends_with("32") ? 4 : 2;
    JsonArray shape;
    for (const int size : tensor.shape) {
      shape.push(int64_t{size});
      bytes *= size;
    }
    JsonArray offsets;
    offsets.push(end).push(end + bytes);
    header.set(
        tensor.name,
        JsonObject().set("dtype", tensor.dtype).set("shape", shape).set("data_offsets", offsets));
    end += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text +
         std::string(static_cast<size_t>(end), '\0');
}

class Folder {
 public:
  explicit Folder(const std::vector<Tensor>& tensors, const std::string& config = "{}")
      : config_(config) {
    files_.write("model.safetensors", file_of(tensors));
  }
  Weights weights() const {
    return Weights::open({"here", files_.path(), Json::parse(config_, "config.json"), Json()});
  }
  void load_into(Module& module) const { weights().load_into(module); }
  const testing::TemporaryFolder& files() const { return files_; }

 private:
  testing::TemporaryFolder files_;
  std::string config_;
};

TEST(Weights, PrefersTheOneFileAndNamesWhatIsMissing) {
  const Folder folder({{"weight", "F32", {4}}});
  folder.files().write("adapters.safetensors", file_of({{"weight", "F32", {4}}}));
  RmsNorm norm(4, 1e-6f);
  folder.load_into(norm);
  std::filesystem::rename(folder.files().path() / "model.safetensors",
                          folder.files().path() / "model-1.safetensors");
  EXPECT_ERROR(folder.weights(), ErrorKind::kInvalidData, "'weight' in one file but two have it");
  std::filesystem::remove(folder.files().path() / "model-1.safetensors");
  folder.load_into(norm);
  std::filesystem::remove(folder.files().path() / "adapters.safetensors");
  EXPECT_ERROR(folder.weights(), ErrorKind::kNotFound, "expected a .safetensors file");
  folder.files().write("pytorch_model.bin", "x");
  EXPECT_ERROR(folder.weights(), ErrorKind::kUnsupported, "it has only .bin files");
}

TEST(FlattenConvWeight, BothLayoutsGiveTheSameRows) {
  const auto pytorch = mx::reshape(mx::arange(2 * 3 * 4 * 4, mx::float32), {2, 3, 4, 4});
  const auto mlx = mx::contiguous(mx::moveaxis(pytorch, 1, -1));
  const auto rows = mx::reshape(pytorch, {2, 48});
  EXPECT_TRUE(mx::array_equal(flatten_conv_weight(pytorch, 3), rows).item<bool>());
  EXPECT_TRUE(mx::array_equal(flatten_conv_weight(mlx, 3), rows).item<bool>());
  EXPECT_TRUE(mx::array_equal(flatten_conv_weight(rows, 3), rows).item<bool>());
}

TEST(FlattenConvWeight, CopiesNothingThatIsInOrder) {
  auto pytorch = mx::reshape(mx::arange(2 * 3 * 4 * 4, mx::float32), {2, 3, 4, 4});
  auto rows = flatten_conv_weight(pytorch, 3);
  mx::eval({pytorch, rows});
  EXPECT_EQ(rows.data<float>(), pytorch.data<float>());
}

}  // namespace
}  // namespace fovea::nn
