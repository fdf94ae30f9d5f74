#include "nn/weights.h"

#include <gtest/gtest.h>

#include "kernels/memory.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/safetensors.h"
#include "support/expect_error.h"
#include "support/resident.h"
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
    int64_t bytes = tensor.dtype.ends_with("32") ? 4 : tensor.dtype == "U8" ? 1 : 2;
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

const std::vector<Tensor> kQuantized = {
    {"weight", "U32", {4, 8}}, {"scales", "BF16", {4, 1}}, {"biases", "BF16", {4, 1}}};

// Linear(64, 4) under the name "fc".
class Parent : public Module {
 public:
  void visit(Visitor& visitor) override { visitor.child("fc", linear); }
  Linear linear{64, 4, Linear::Bias::kNone};
};

// Overrides are written under what the checkpoint calls a module, which may be another name.
TEST(Weights, QuantisationIsFoundUnderTheCheckpointsOwnName) {
  std::vector<Tensor> tensors = {{"body.head.weight", "U32", {4, 16}},
                                 {"body.head.scales", "BF16", {4, 1}},
                                 {"body.head.biases", "BF16", {4, 1}}};
  auto weights = Folder(tensors, R"({"quantization": {"group_size": 64, "bits": 4,
                                     "body.head": {"group_size": 64, "bits": 8}}})")
                     .weights();
  weights.rename([](const std::string& name) { return "fc." + name.substr(10); });
  Parent parent;
  weights.load_into(parent);
  EXPECT_EQ(parent.linear.quantization()->bits, 8);
}

std::vector<Tensor> below_fc(std::vector<Tensor> tensors) {
  for (auto& tensor : tensors) tensor.name = "fc." + tensor.name;
  return tensors;
}

TEST(Weights, MissingMisshapenAndLeftOverTensorsAreNamed) {
  Linear linear(3, 2, Linear::Bias::kPresent);
  const Tensor weight{"weight", "F16", {2, 3}};
  const Tensor bias{"bias", "F32", {2}};
  Folder({weight, bias}).load_into(linear);
  EXPECT_ERROR(Folder({weight}).load_into(linear), ErrorKind::kInvalidData,
               "expected a tensor 'bias'");
  EXPECT_ERROR(Folder({weight, {"bias", "F32", {3}}}).load_into(linear), ErrorKind::kInvalidData,
               "expected 'bias' as floating-point [2] but got float32 [3]");
  EXPECT_ERROR(Folder({weight, bias, {"a", "F32", {1}}, {"b", "F32", {1}}}).load_into(linear),
               ErrorKind::kInvalidData,
               "expected no tensor 'a': the model has no place for it and 1");
}

TEST(Weights, IntegersAreNoNormsBiasesOrTables) {
  RmsNorm norm(4, 1e-6f);
  EXPECT_ERROR(Folder({{"weight", "I32", {4}}}).load_into(norm), ErrorKind::kInvalidData,
               "expected 'weight' as floating-point [4] but got int32 [4]");
  Embedding table(4, 8);
  EXPECT_ERROR(Folder({{"weight", "I32", {4, 8}}}).load_into(table), ErrorKind::kInvalidData,
               "floating-point");
}

TEST(Weights, RenamesDropAndRefuseCollisions) {
  auto weights = Folder({{"a.weight", "F32", {1}}, {"b.weight", "F32", {1}}}).weights();
  EXPECT_ERROR(weights.rename([](const std::string&) { return "same"; }), ErrorKind::kInvalidData,
               "expected one tensor for 'same' but 'b.weight' is another");
  auto others = Folder({{"a.weight", "F32", {4}}, {"b.weight", "F32", {1}}}).weights();
  others.rename([](const std::string& name) { return name == "b.weight" ? "" : "weight"; });
  EXPECT_TRUE(others.contains("weight"));
  EXPECT_FALSE(others.contains("b.weight"));
  RmsNorm norm(3, 1e-6f);
  EXPECT_ERROR(others.load_into(norm), ErrorKind::kInvalidData, "'a.weight'");
}

TEST(Weights, ReadsOverridesByPath) {
  const auto tensors = below_fc(kQuantized);
  const auto with = [&](const std::string& quantization) {
    Parent parent;
    Folder(tensors, "{\"quantization\": " + quantization + "}").load_into(parent);
  };
  with(R"({"group_size": 64, "bits": 4})");
  with(R"({"group_size": 32, "bits": 8, "fc": {"group_size": 64, "bits": 4}})");
  with("{}");
}

TEST(Weights, RefusesQuantisationsThatNoKernelKnows) {
  const auto refused = [](const std::string& quantization, const std::string& part) {
    Parent parent;
    EXPECT_ERROR(
        Folder(below_fc(kQuantized), "{\"quantization\": " + quantization + "}").load_into(parent),
        ErrorKind::kInvalidData, part);
  };
  for (const char* group : {"0", "-64", "16", "2147483647"}) {
    refused(fmt::format(R"({{"group_size": {}}})", group), "at 'quantization' but got 4 bits in");
  }
  for (const char* bits : {"-4", "0", "7", "2147483647"}) {
    refused(fmt::format(R"({{"bits": {}}})", bits), "at 'quantization' but got");
  }
  refused(R"({"group_size": 64, "bits": 4, "fc": {"bits": 7}})", "at 'quantization.fc' but got 7");
  refused(R"({"group_size": 128, "bits": 4})", "64 inputs of 'fc' in whole groups of 128");
  Parent parent;
  EXPECT_ERROR(Folder(below_fc(kQuantized)).load_into(parent), ErrorKind::kInvalidData,
               "expected 'quantization' because 'fc' has scales");
  EXPECT_ERROR(Folder({}, R"({"quantization_config": {"quant_method": "gptq"}})").weights(),
               ErrorKind::kUnsupported, "got 'gptq'");
}

TEST(Weights, ReadsTheModesOfFloats) {
  const auto loads = [](const std::string& quantization, const std::vector<Tensor>& tensors) {
    Parent parent;
    Folder(below_fc(tensors), "{\"quantization\": " + quantization + "}").load_into(parent);
    EXPECT_EQ(parent.linear.dtype(), mx::bfloat16);
  };
  const std::vector<Tensor> mxfp4 = {{"weight", "U32", {4, 8}}, {"scales", "U8", {4, 2}}};
  const std::vector<Tensor> nvfp4 = {{"weight", "U32", {4, 8}}, {"scales", "U8", {4, 4}}};
  const std::vector<Tensor> mxfp8 = {{"weight", "U32", {4, 16}}, {"scales", "U8", {4, 2}}};
  loads(R"({"group_size": 32, "bits": 4, "mode": "mxfp4"})", mxfp4);
  loads(R"({"mode": "nvfp4"})", nvfp4);
  loads(R"({"group_size": 32, "bits": 8, "mode": "mxfp8"})", mxfp8);
  // One module in another mode, with its own sizes or their standard.
  loads(R"({"group_size": 64, "bits": 4, "fc": {"mode": "mxfp8"}})", mxfp8);
  Parent parent;
  const auto refused = [&](const std::string& quantization, const std::vector<Tensor>& tensors,
                           const std::string& part) {
    EXPECT_ERROR(
        Folder(below_fc(tensors), "{\"quantization\": " + quantization + "}").load_into(parent),
        ErrorKind::kInvalidData, part);
  };
  refused(R"({"group_size": 64, "mode": "mxfp4"})", mxfp4,
          "expected 4 bits in groups of 32 for mxfp4 at 'quantization' but got 4 bits in groups of "
          "64");
  refused(R"({"mode": "mxfp4"})", {mxfp4[0], {"scales", "BF16", {4, 2}}},
          "expected 'fc.scales' as uint8 [4, 2] but got bfloat16 [4, 2]");
  EXPECT_ERROR(Folder({}, R"({"quantization": {"mode": "mxfp2"}})").weights(),
               ErrorKind::kUnsupported, "but got 'mxfp2'");
}

TEST(Weights, SaysWhatIsWrongWithScales) {
  const std::string config = R"({"quantization": {"group_size": 64, "bits": 4}})";
  Parent parent;
  auto tensors = below_fc(kQuantized);
  tensors[2].dtype = "F16";
  EXPECT_ERROR(Folder(tensors, config).load_into(parent), ErrorKind::kInvalidData,
               "of one type for 'fc' but they are bfloat16 and float16");
  EXPECT_ERROR(Folder({tensors[0]}, config).load_into(parent), ErrorKind::kInvalidData,
               "expected a tensor 'fc.scales' beside a weight of uint32");
}

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

// A large model's stacks would otherwise be in memory twice.
TEST(Weights, TurnsStacksAndGivesTheFilesPagesBack) {
  const Folder folder({{"turned", "F32", {8, 256, 512}}, {"other", "F32", {8, 256, 512}}});
  auto weights = folder.weights();
  const size_t bytes = size_t{8} * 256 * 512 * 4;
  const auto turn = [](const mx::array& matrix) { return mx::transpose(matrix); };
  struct Stack : QuantizableWeight {
    Stack() : QuantizableWeight(512, 256, 8) {}
  };
  struct Both : Module {
    Stack turned;
    Stack same;
    void visit(Visitor& visitor) override {
      visitor.child("turned", turned);
      visitor.child("same", same);
    }
  } both;
  weights.split_stack("turned", {{"turned.weight", turn}});
  weights.split_stack("other", {{"same.weight", turn}});
  weights.load_into(both);
  ASSERT_EQ(both.turned.matrices().size(), 8u);
  EXPECT_TRUE(both.turned.matrices()[7].flags().row_contiguous);
  EXPECT_EQ(both.turned.matrices()[7].shape(), (mx::Shape{512, 256}));
  EXPECT_LT(testing::resident_file_bytes((folder.files().path() / "model.safetensors").string()),
            bytes / 8);
}

TEST(Weights, JoinsStacksOfWhatLiesApart) {
  const auto joined = [](const Folder& folder) {
    auto weights = folder.weights();
    weights.join_stack("stack.weight", 3, [](int i) { return fmt::format("e.{}.weight", i); });
    return weights;
  };
  struct Stack : QuantizableWeight {
    Stack() : QuantizableWeight(4, 6, 3) {}
  };
  struct Holder : Module {
    Stack stack;
    void visit(Visitor& visitor) override { visitor.child("stack", stack); }
  } holder;
  const Tensor first{"e.0.weight", "F32", {4, 6}};
  const Tensor second{"e.1.weight", "F32", {4, 6}};
  joined(Folder({first, second, {"e.2.weight", "F32", {4, 6}}})).load_into(holder);
  EXPECT_EQ(holder.stack.matrices().size(), 3u);
  EXPECT_ERROR(joined(Folder({first, second})), ErrorKind::kInvalidData,
               "expected a tensor 'e.2.weight' but the checkpoint has none");
  EXPECT_ERROR(joined(Folder({first, second, {"e.2.weight", "F32", {6, 4}}})),
               ErrorKind::kInvalidData, "expected 'e.2.weight' as float32 [4, 6] but got");
  EXPECT_ERROR(
      joined(Folder({first, second, {"e.2.weight", "F32", {4, 6}}, {"stack.weight", "F32", {1}}})),
      ErrorKind::kInvalidData, "expected one tensor for 'stack.weight'");
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

// Pages of a tower's weights go as soon as a product has read them, and no others.
TEST(PassingWeights, GoFromMemoryAfterEachOp) {
  const testing::TemporaryFolder files;
  const auto path = files.write(
      "w.safetensors", file_of({{"a", "BF16", {1024, 1024}}, {"b", "BF16", {1024, 1024}}}));
  const auto tensors = map_safetensors(path);
  const auto& [a, b] = std::pair(tensors[0].second, tensors[1].second);
  const auto* begin = reinterpret_cast<const std::byte*>(a.data<char>());
  const auto x = mx::ones({4, 1024}, mx::float32);
  const auto use = [&](const mx::array& weight) {
    mx::array y = kernels::matmul(x, weight, std::nullopt);
    mx::eval(y);
    return testing::resident_bytes(begin);
  };
  const size_t both = a.nbytes() + b.nbytes();
  use(a);
  EXPECT_GE(use(b), both);
  {
    const kernels::PassingWeights passing({{begin, a.nbytes()}});
    EXPECT_LE(use(a), both - a.nbytes() + 64 * 1024);
    EXPECT_GE(use(b), b.nbytes());
  }
  EXPECT_GE(use(a), both);
}

}  // namespace
}  // namespace fovea::nn
