// Pictures against Pillow's and transformers' answers in tests/fixtures.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "core/limits.h"
#include "processors/image_processor.h"
#include "processors/resample.h"
#include "support/expect_error.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::processors {
namespace {

using testing::fixture_path;
using testing::read_fixture;

// The formula of docs/parity.md.
Image formula_picture(int width, int height) {
  Image image;
  image.size = {width, height};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        image.rgb.push_back(static_cast<uint8_t>((7 * x + 13 * y + 29 * c + x * y / 16) % 256));
      }
    }
  }
  return image;
}

// Sources are named kind_WIDTHxHEIGHT; those of the formula are not stored.
Image raw_source(const std::string& name) {
  Image image;
  const auto at = name.rfind('_') + 1;
  image.size.width = std::stoi(name.substr(at));
  image.size.height = std::stoi(name.substr(name.find('x', at) + 1));
  if (name.starts_with("formula_")) return formula_picture(image.size.width, image.size.height);
  const std::string bytes = read_file(fixture_path("pillow/resize/" + name + ".rgb"));
  image.rgb.assign(bytes.begin(), bytes.end());
  return image;
}

Filter filter_named(const std::string& name) {
  static const std::map<std::string, Filter> kFilters = {
      {"nearest", Filter::kNearest}, {"box", Filter::kBox},         {"bilinear", Filter::kBilinear},
      {"hamming", Filter::kHamming}, {"bicubic", Filter::kBicubic}, {"lanczos", Filter::kLanczos}};
  return kFilters.at(name);
}

TEST(Resample, EqualsPillowBitForBit) {
  const Json cases = read_fixture("pillow/resize/cases.json")["cases"];
  ASSERT_GE(cases.size(), 200u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const Size size{c["width"].as_int32(), c["height"].as_int32()};
    const Image out =
        resize(raw_source(c["source"].as_string()), size, filter_named(c["filter"].as_string()));
    ASSERT_EQ(out.rgb.size(), size_t{3} * size.width * size.height);
    EXPECT_EQ(testing::sha256(out.rgb.data(), out.rgb.size()), c["sha256"].as_string()) << c.dump();
  }
  std::printf("%zu resizes equal Pillow's\n", cases.size());
}

TEST(Resample, FitsAPictureIntoABox) {
  const auto fits = [](Size picture, Size box, Size expected) {
    EXPECT_EQ(fitted(picture, box), expected)
        << picture.width << "x" << picture.height << " into " << box.width << "x" << box.height;
  };
  fits({640, 480}, {64, 64}, {64, 48});  // one value: a square
  fits({480, 640}, {64, 64}, {48, 64});
  fits({640, 480}, {320, 100}, {133, 100});  // two: width, height
  fits({640, 480}, {100, 320}, {100, 75});
  fits({10, 20}, {100, 100}, {50, 100});  // grows
  fits({64, 64}, {64, 64}, {64, 64});
  fits({7, 3}, {5, 5}, {5, 2});
  fits({1, 10000}, {224, 224}, {1, 224});  // a sliver keeps a pixel
  fits({10000, 1}, {224, 224}, {224, 1});
}

// A tensor of a float32 safetensors file.
std::vector<float> samples_of(const std::string& file, const std::string& name) {
  uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof(header_size));
  const size_t data = sizeof(header_size) + header_size;
  const Json header = Json::parse(file.substr(sizeof(header_size), header_size), "samples");
  const auto span = header[name]["data_offsets"].as_int_list();
  std::vector<float> values(static_cast<size_t>(span[1] - span[0]) / sizeof(float));
  std::memcpy(values.data(), file.data() + data + span[0], values.size() * sizeof(float));
  return values;
}

Checkpoint checkpoint_with(const Json& preprocessor, const testing::TemporaryFolder& folder) {
  folder.write("preprocessor_config.json", preprocessor.dump());
  folder.write("config.json", R"({"model_type": "any", "vision_config": {}})");
  return open_checkpoint(folder.path().string());
}

TEST(ImageProcessor, EqualsTransformersAndMlxVlm) {
  const Json fixture = read_fixture("processors/image/cases.json");
  const Json cases = fixture["cases"];
  const double tolerance = fixture["tolerance"].as_double();
  const std::string samples = read_file(fixture_path("processors/image/samples.safetensors"));
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json c = cases.at(i);
    const testing::TemporaryFolder folder;
    const auto processor = load_image_processor(
        checkpoint_with(fixture["processors"][c["processor"].as_string()], folder));
    const auto out =
        processor->process(formula_picture(c["width"].as_int32(), c["height"].as_int32()), "p");
    const std::string name = c["name"].as_string();
    EXPECT_EQ(out.pixels.shape, c["shape"].as_int_list()) << name;
    double sum = 0;
    double squares = 0;
    for (const float value : out.pixels.data) {
      sum += value;
      squares += double{value} * value;
    }
    const double slack = tolerance * static_cast<double>(out.pixels.data.size());
    EXPECT_NEAR(sum, c["sum"].as_double(), slack) << name;
    EXPECT_NEAR(squares, c["sum_of_squares"].as_double(), 4 * slack) << name;
    const auto expected = samples_of(samples, name);
    const size_t stride = static_cast<size_t>(c["stride"].as_int32());
    ASSERT_GT(expected.size(), 0u) << name;
    ASSERT_LE((expected.size() - 1) * stride, out.pixels.data.size() - 1) << name;
    for (size_t s = 0; s < expected.size(); ++s) {
      ASSERT_NEAR(out.pixels.data[s * stride], expected[s], 1e-6) << name << " sample " << s;
    }
    if (c.contains("aspect_ratio")) {
      EXPECT_EQ(std::vector<int>(out.tiles.begin(), out.tiles.end()),
                c["aspect_ratio"].as_int_list())
          << name;
    }
    if (c.contains("image_grid_thw")) {
      const auto grid = c["image_grid_thw"].at(0).as_int_list();
      EXPECT_EQ(std::vector<int>(out.grid_thw.begin(), out.grid_thw.end()), grid) << name;
    }
  }
}

TEST(ImageProcessor, RefusesSlivers) {
  const testing::TemporaryFolder folder;
  const auto processor = load_image_processor(checkpoint_with(
      Json::parse(R"({"image_processor_type": "Qwen2VLImageProcessor"})", "t"), folder));
  EXPECT_NO_THROW(processor->process(formula_picture(1, kPictureAspectMax), "p"));
  EXPECT_ERROR(processor->process(formula_picture(1, kPictureAspectMax + 1), "thin.png"),
               ErrorKind::kInvalidData, "'thin.png' but got 1x201");
  const testing::TemporaryFolder clip_folder;
  const auto clip = load_image_processor(checkpoint_with(
      Json::parse(R"({"image_processor_type": "CLIPImageProcessorFast"})", "t"), clip_folder));
  EXPECT_ERROR(clip->process(formula_picture(10000, 1), "thin.png"), ErrorKind::kTooLarge,
               "'thin.png' but got 10000x1");
  const auto phi = load_image_processor(checkpoint_with(
      Json::parse(R"({"image_processor_type": "Phi3VImageProcessor"})", "t"), folder));
  EXPECT_NO_THROW(phi->process(formula_picture(336, 1), "p"));
  EXPECT_ERROR(phi->process(formula_picture(1, 337), "thin.png"), ErrorKind::kInvalidData,
               "'thin.png' but got 1x337");
  const auto pixtral = load_image_processor(checkpoint_with(
      Json::parse(R"({"image_processor_type": "PixtralImageProcessor"})", "t"), folder));
  EXPECT_NO_THROW(pixtral->process(formula_picture(1024, 1), "p"));
  EXPECT_ERROR(pixtral->process(formula_picture(1, 1025), "thin.png"), ErrorKind::kInvalidData,
               "less narrow than 'thin.png'");
  EXPECT_ERROR(load_image_processor(
                   checkpoint_with(Json::parse(R"({"image_processor_type": "MllamaImageProcessor",
                                   "do_pad": false})",
                                               "t"),
                                   folder)),
               ErrorKind::kUnsupported, "expected true at 'do_pad'");
  EXPECT_ERROR(load_image_processor(checkpoint_with(
                   Json::parse(R"({"image_processor_type": "Other"})", "t"), folder)),
               ErrorKind::kUnsupported, "got 'Other'");
}

TEST(ImageProcessor, RefusesOddConfigs) {
  for (
      const char* text : {
          R"({"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 1073741824})",
          R"({"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 2000000000,
               "max_pixels": 2000000000})",
          R"({"image_processor_type": "Qwen2VLImageProcessor", "resample": 9})",
          R"({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 0}})",
          R"({"image_processor_type": "CLIPImageProcessor", "crop_size": 1000000})",
          R"({"image_processor_type": "SiglipImageProcessor", "size": {"height": -1, "width": 9}})",
          R"({"image_processor_type": "SiglipImageProcessor", "size": "x"})",
          R"({"image_processor_type": "CLIPImageProcessor", "size": [1, 2]})",
          R"({"image_processor_type": "CLIPImageProcessor", "crop_size": [1, 2]})",
          R"({"image_processor_type": "Qwen2VLImageProcessor", "size": [1, 2]})",
          R"({"image_processor_type": "CLIPImageProcessor", "image_std": [1, 0, 1]})",
          R"({"image_processor_type": "CLIPImageProcessor", "image_std": [1, 1, 1e-300]})",
          R"({"image_processor_type": "Qwen2VLImageProcessor", "rescale_factor": 1e300})",
          R"({"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 0}})",
          R"({"image_processor_type": "Idefics3ImageProcessor",
               "size": {"height": 0, "width": 9}})",
          R"({"image_processor_type": "Gemma3ImageProcessor", "size": {"height": 0}})",
          R"({"image_processor_type": "Gemma3ImageProcessor", "pan_and_scan_min_crop_size": 0})",
          R"({"image_processor_type": "Gemma3ImageProcessor",
               "pan_and_scan_max_num_crops": 65})",
          R"({"image_processor_type": "SmolVLMImageProcessor", "max_image_size": 512})",
          R"({"image_processor_type": "SmolVLMImageProcessor",
               "max_image_size": {"longest_edge": -1}})",
          R"({"image_processor_type": "SiglipImageProcessor", "rescale_factor": 1e38,
               "do_normalize": false})",
          R"({"image_processor_type": "LlavaNextImageProcessor", "crop_size": 336, "size": 224})",
          R"({"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": []})",
          R"({"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": [[224]]})",
          R"({"image_processor_type": "LlavaNextImageProcessor",
               "image_grid_pinpoints": [[448, 300]]})",
          R"({"image_processor_type": "LlavaNextImageProcessor",
               "image_grid_pinpoints": [[224, 22400]]})",
          R"({"image_processor_type": "PixtralImageProcessor", "patch_size": 0})",
          R"({"image_processor_type": "PixtralImageProcessor", "size": {"longest_edge": 5000}})",
          R"({"image_processor_type": "PixtralImageProcessor", "size": [1, 2]})",
          R"({"image_processor_type": "MllamaImageProcessor", "size": {"height": 5, "width": 6}})",
          R"({"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 0})",
          R"({"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 65})",
          R"({"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 64,
               "size": {"height": 2048, "width": 2048}})",
          R"({"image_processor_type": "Phi3VImageProcessor", "num_crops": 0})",
          R"({"image_processor_type": "Phi3VImageProcessor", "num_crops": 65})",
          R"({"image_processor_type": "Phi3VImageProcessor", "num_img_tokens": 143})",
      }) {
    const testing::TemporaryFolder folder;
    EXPECT_ERROR(load_image_processor(checkpoint_with(Json::parse(text, "t"), folder)),
                 ErrorKind::kInvalidData, "[preprocessor_config.json] expected");
  }
}

// Tiles of a pixel would take more placeholders than a prompt can hold.
TEST(ImageProcessor, RefusesTooManyTiles) {
  const testing::TemporaryFolder folder;
  const auto processor = load_image_processor(checkpoint_with(
      Json::parse(R"({"image_processor_type": "Idefics3ImageProcessor", "do_resize": false,
                      "max_image_size": {"longest_edge": 1}})",
                  "t"),
      folder));
  EXPECT_NO_THROW(processor->process(formula_picture(40, 30), "p"));
  EXPECT_ERROR(processor->process(formula_picture(1200, 400), "wide.png"), ErrorKind::kTooLarge,
               "bytes of placeholders for 'wide.png' but got 480001,");
}

// Sizes of single keys are within bounds that together are not.
TEST(ImageProcessor, RefusesWhatWouldNotFitInMemory) {
  const testing::TemporaryFolder folder;
  Checkpoint checkpoint{"here", folder.path(), Json::parse("{}", "config.json"), {}};
  const auto refused = [&](const char* settings, int width, int height, const char* got) {
    folder.write("preprocessor_config.json", settings);
    EXPECT_ERROR(
        load_image_processor(checkpoint)->process(formula_picture(width, height), "big.png"),
        ErrorKind::kTooLarge, got);
  };
  refused(R"({"image_processor_type": "Gemma3ImageProcessor", "do_pan_and_scan": true,
              "size": {"height": 4096, "width": 4096}, "pan_and_scan_max_num_crops": 64,
              "pan_and_scan_min_crop_size": 1})",
          64, 1, "'big.png' but got 1090519040, 16640 and");
  refused(R"({"image_processor_type": "Qwen2VLImageProcessor", "temporal_patch_size": 16,
              "min_pixels": 16777216, "max_pixels": 16777216})",
          64, 64, "'big.png' but got 271063296,");
  checkpoint.config = Json::parse(R"({"vision_config": {"image_size": 4088}})", "config.json");
  refused(R"({"image_processor_type": "Phi3VImageProcessor", "num_crops": 64})", 64, 64,
          "'big.png' but got 1086263360,");
  checkpoint.config = Json::parse(R"({"model_type": "internvl_chat", "max_dynamic_patch": 256,
      "min_dynamic_patch": 256, "vision_config": {"image_size": 4096, "patch_size": 1}})",
                                  "config.json");
  refused("{}", 64, 64, "'big.png' but got 4311744512, 1077936128 and");
  checkpoint.config = Json::parse("{}", "config.json");
  folder.write("processor_config.json",
               fmt::format(R"({{"image_token": "{}"}})", std::string(20'000, 'x')));
  refused(R"({"image_processor_type": "PixtralImageProcessor"})", 1024, 1024,
          "'big.png' but got 1048576, 4160 and 81920713");
}

// transformers 5 writes the settings into processor_config.json; what an older version left beside
// it is out of date.
TEST(ImageProcessor, PrefersTheNewerFile) {
  const testing::TemporaryFolder folder;
  const Checkpoint checkpoint{"here", folder.path(), Json::parse("{}", "config.json"), {}};
  folder.write("preprocessor_config.json",
               R"({"image_processor_type": "SiglipImageProcessor", "size": 28})");
  const auto side = [&] {
    return load_image_processor(checkpoint)->process(formula_picture(9, 9), "p").used.width;
  };
  EXPECT_EQ(side(), 28);
  folder.write("processor_config.json", R"({"processor_class": "LlavaProcessor"})");
  EXPECT_EQ(side(), 28);
  folder.write("processor_config.json", R"({"image_processor":
      {"image_processor_type": "SiglipImageProcessor", "size": 42}})");
  EXPECT_EQ(side(), 42);
}

// The name that Qwen2.5-VL's first releases gave to Qwen2-VL's.
TEST(ImageProcessor, KnowsQwen25VlsName) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(
      load_image_processor(
          checkpoint_with(
              Json::parse(R"({"image_processor_type": "Qwen2_5_VLImageProcessor"})", "t"), folder))
          ->process(formula_picture(56, 56), "p")
          .tokens,
      4);
}

// Families that bring their own processor: the settings stand in config.json.
TEST(ImageProcessor, OfAFamilyIsTakenWhateverTheFileSays) {
  const testing::TemporaryFolder folder;
  Checkpoint checkpoint{"here", folder.path(), {}, {}};
  const auto load = [&](const std::string& config) {
    checkpoint.config = Json::parse(config, "config.json");
    return load_image_processor(checkpoint);
  };
  // No preprocessor_config.json: two tiles, a view, 256 tokens each.
  const std::string internvl = R"({"model_type": "internvl_chat", "vision_config": {})";
  EXPECT_EQ(load(internvl + "}")->process(formula_picture(200, 100), "p").tokens, 3 * 256);
  EXPECT_EQ(load(internvl + R"(, "use_thumbnail": false})")
                ->process(formula_picture(200, 100), "p")
                .tokens,
            2 * 256);
  EXPECT_EQ(load(internvl + R"(, "dynamic_image_size": false})")
                ->process(formula_picture(200, 100), "p")
                .tokens,
            256);
  for (const char* keys :
       {R"("min_dynamic_patch": 13)", R"("max_dynamic_patch": 257)", R"("downsample_ratio": 0)",
        R"("force_image_size": 4097)", R"("force_image_size": 14)"}) {
    EXPECT_ERROR(load(internvl + ", " + keys + "}"), ErrorKind::kInvalidData,
                 "[config.json] expected");
  }
  const std::string bunny = R"({"model_type": "llava-qwen2", "image_aspect_ratio": "pad")";
  const auto padding = load(bunny + "}");
  EXPECT_EQ(padding->process(formula_picture(9, 4), "p").tokens, 27 * 27);
  EXPECT_ERROR(padding->process(formula_picture(8193, 1), "thin.png"), ErrorKind::kTooLarge,
               "'thin.png' but got 8193x1");
  EXPECT_ERROR(load(bunny + R"(, "vision_config": {"image_size": 8}})"), ErrorKind::kInvalidData,
               "the tower's 8 pixels");
  folder.write("preprocessor_config.json",
               R"({"image_processor_type": "CLIPImageProcessor", "size": 224})");
  EXPECT_EQ(load(internvl + "}")->process(formula_picture(5, 5), "p").tokens, 256);
}

TEST(ImageProcessor, HoldsItsLimits) {
  const auto load = [](const std::string& type, const std::string& key, int value) {
    const testing::TemporaryFolder folder;
    const auto text =
        fmt::format(R"({{"image_processor_type": "{}", "{}": {}}})", type, key, value);
    load_image_processor(checkpoint_with(Json::parse(text, "t"), folder));
  };
  const auto holds = [&](const char* type, const char* key, int most) {
    EXPECT_NO_THROW(load(type, key, most - 1)) << key;
    EXPECT_NO_THROW(load(type, key, most)) << key;
    EXPECT_ERROR(load(type, key, most + 1), ErrorKind::kInvalidData, "expected");
  };
  holds("CLIPImageProcessor", "size", kProcessorSideMax);
  holds("CLIPImageProcessor", "crop_size", kProcessorSideMax);
  holds("SiglipImageProcessor", "size", kProcessorSideMax);
  holds("Qwen2VLImageProcessor", "patch_size", kProcessorPatchMax);
  holds("Qwen2VLImageProcessor", "temporal_patch_size", kProcessorTemporalPatchMax);
  holds("Qwen2VLImageProcessor", "merge_size", kProcessorMergeMax);
}

}  // namespace
}  // namespace fovea::processors
