// The binary as its users run it: bad input gets one sentence and exit code 2, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

#include "base/json.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::fixture_path;
using ::testing::HasSubstr;

struct Outcome {
  int code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

Outcome fovea(const std::vector<std::string>& words, const std::string& input = "") {
  const testing::TemporaryFolder folder;
  const auto in = folder.write("in", input);
  std::string command = FOVEA_BINARY;
  for (const auto& word : words) command += " " + quoted(word);
  const auto out = folder.path() / "out";
  const auto err = folder.path() / "err";
  command += fmt::format(" <{} >{} 2>{}", in.string(), out.string(), err.string());
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

std::string checkpoint(const std::string& name) { return fixture_path("parity/" + name).string(); }
const std::string& qwen() {
  static const std::string name = checkpoint("qwen2_vl/checkpoints/hf-f32");
  return name;
}
std::string picture() { return checkpoint("qwen2_vl/cases/one_picture/picture.png"); }

void expect_refused(const std::vector<std::string>& words, const std::string& sentence) {
  const Outcome outcome = fovea(words);
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr(sentence));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("fovea: ", 0), 0u) << outcome.err;
}

std::vector<std::string> with_model(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> words = {"generate", "--model", model, "--prompt", "x"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Generate, PrintsOneJsonObject) {
  const Outcome outcome = fovea(with_model(
      qwen(), {"--image", picture(), "--json", "--temperature", "0", "--max-tokens", "3"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const Json json = Json::parse(outcome.out, "output");
  EXPECT_EQ(json["token_ids"].size(), 3u);
  EXPECT_EQ(json["finish_reason"].as_string(), "length");
  EXPECT_EQ(json["usage"]["completion_tokens"].as_int(), 3);
  EXPECT_EQ(json["images"].at(0)["tokens"].as_int(), 6);
  EXPECT_EQ(json["images"].at(0)["original_size"]["width"].as_int(), 45);
  for (const char* key : {"prompt_n", "prompt_ms", "predicted_n", "predicted_ms",
                          "predicted_per_second", "load_ms", "peak_memory"}) {
    EXPECT_TRUE(json["timings"][key].is_number()) << key;
  }
}

TEST(Generate, ReadsAPictureFromStandardInput) {
  std::vector<std::string> words = with_model(qwen(), {"--image", "-", "--max-tokens", "2"});
  const Outcome outcome = fovea(words, read_file(picture()));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out.find('\x1b'), std::string::npos);
}

TEST(Generate, SeedsDecideSampledTokens) {
  const auto sampled = [](const char* seed) {
    return fovea(with_model(qwen(), {"--temperature", "1", "--top-k", "0", "--top-p", "1", "--seed",
                                     seed, "--max-tokens", "12", "--json"}))
        .out;
  };
  const auto ids = [](const std::string& out) { return Json::parse(out, "o")["token_ids"].dump(); };
  EXPECT_EQ(ids(sampled("7")), ids(sampled("7")));
  EXPECT_NE(ids(sampled("7")), ids(sampled("8")));
}

TEST(Generate, DumpsStages) {
  const testing::TemporaryFolder folder;
  const auto where = (folder.path() / "deep/er").string();
  const Outcome outcome =
      fovea(with_model(qwen(), {"--image", picture(), "--dump", where, "--max-tokens", "1"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string bytes = read_file(std::filesystem::path(where) / "stages.safetensors");
  for (const char* stage : {"pixel_values", "image_grid_thw", "image_features", "inputs_embeds",
                            "position_ids", "logits"}) {
    EXPECT_THAT(bytes, HasSubstr(fmt::format("\"{}\"", stage)));
  }
}

TEST(Generate, ChecksKernels) {
  const Outcome outcome =
      fovea(with_model(qwen(), {"--image", picture(), "--check-kernels", "--max-tokens", "2"}));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("kernels agree"));
}

TEST(Generate, StopStringsEndTheText) {
  const std::vector<std::string> base = {"--temperature", "1",  "--top-k", "0",
                                         "--top-p",       "1",  "--seed",  "11",
                                         "--max-tokens",  "40", "--json"};
  const auto text = [&](std::vector<std::string> more) {
    more.insert(more.end(), base.begin(), base.end());
    return Json::parse(fovea(with_model(qwen(), more)).out, "o");
  };
  const std::string whole = text({})["text"].as_string();
  ASSERT_GE(whole.size(), 4u);
  const std::string stop = whole.substr(whole.size() - 2);
  const Json cut = text({"--stop", stop});
  EXPECT_EQ(cut["finish_reason"].as_string(), "stop");
  EXPECT_EQ(cut["text"].as_string(), whole.substr(0, whole.find(stop)));
}

// The signal is sent once text has come, long before 460 checked tokens are done.
TEST(Generate, CtrlCStopsAndPrintsStatistics) {
  const testing::TemporaryFolder folder;
  const auto out = (folder.path() / "out").string();
  const std::string words =
      "--prompt a --max-tokens 460 --temperature 1 --top-k 0 --top-p 1 --seed 3 --check-kernels "
      "--logit-bias 306=-100 --logit-bias 304=-100";
  const std::string command = fmt::format(
      "{0} generate --model {1} {2} >{3} 2>/dev/null & id=$!; "
      "while kill -0 $id 2>/dev/null && ! [ -s {3} ]; do sleep 0.01; done; "
      "kill -INT $id; wait $id",
      FOVEA_BINARY, qwen(), words, out);
  // A shell without job control starts background commands with SIGINT ignored; -m turns it on.
  const int status = std::system(fmt::format("bash -mc '{}'", command).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(read_file(out), HasSubstr("Generation: "));
  EXPECT_THAT(read_file(out), HasSubstr("Peak memory: "));
}

TEST(BadInput, ModelsThatAreNotThere) {
  expect_refused(with_model("/no/such/folder", {}), "there is no folder '/no/such/folder'");
  expect_refused(with_model("nobody/nothing", {}), "'nobody/nothing'");
  const testing::TemporaryFolder folder;
  expect_refused(with_model(folder.path().string(), {}), "config.json");
  folder.write("config.json", "{");
  expect_refused(with_model(folder.path().string(), {}), "[config.json] expected JSON");
  folder.write("config.json", R"({"model_type": "warp_drive"})");
  expect_refused(with_model(folder.path().string(), {}), "llava, mistral, qwen2, qwen2_vl");
}

TEST(BadInput, FlagsOutOfRange) {
  expect_refused({"generate", "--prompt", "x", "--top-p", "2"}, "--top-p");
  expect_refused({"generate", "--prompt", "x", "--temperature", "-1"}, "--temperature");
  expect_refused({"generate", "--prompt", "x", "--logit-bias", "a=b"}, "ID=BIAS");
  expect_refused({"generate"}, "--prompt or --image");
  EXPECT_EQ(fovea({"dance"}).code, 2);
  EXPECT_EQ(fovea({}).code, 2);
}

TEST(BadInput, DumpThatCannotBeWritten) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("file", "x");
  expect_refused(with_model(qwen(), {"--dump", file.string()}), "[--dump] expected a folder");
}

TEST(BadInput, PromptLongerThanTheContext) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  expect_refused({"generate", "--model", qwen(), "--prompt", text}, "fewer than 512 tokens");
}

TEST(BadInput, Pictures) {
  expect_refused(with_model(qwen(), {"--image", "/no/cat.jpg"}), "'/no/cat.jpg'");
  const Json cases = testing::read_fixture("bad/cases.json")["pictures"];
  int refused = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cases.at(i)["expect"].as_string() != "refuse") continue;
    const std::string file = cases.at(i)["file"].as_string();
    expect_refused(with_model(qwen(), {"--image", fixture_path("bad/pictures/" + file).string()}),
                   file);
    ++refused;
  }
  EXPECT_GE(refused, 8);
  expect_refused(
      with_model(qwen(), {"--image", fixture_path("bad/pictures/column_1x10000.png").string()}),
      "1x10000");
  EXPECT_EQ(fovea(with_model(qwen(), {"--max-tokens", "1", "--image",
                                      fixture_path("bad/pictures/one_pixel.png").string()}))
                .code,
            0);
}

// A copy of a good checkpoint with one file replaced.
class ChangedCheckpoint {
 public:
  explicit ChangedCheckpoint(const std::string& name) {
    std::filesystem::copy(checkpoint(name), folder_.path(),
                          std::filesystem::copy_options::recursive);
  }
  std::string path() const { return folder_.path().string(); }
  std::string read(const std::string& name) const { return read_file(folder_.path() / name); }
  void write(const std::string& name, std::string_view bytes) { folder_.write(name, bytes); }

 private:
  testing::TemporaryFolder folder_;
};

TEST(BadInput, HostileWeightFiles) {
  const Json cases = testing::read_fixture("bad/cases.json")["safetensors"];
  for (size_t i = 0; i < cases.size(); ++i) {
    ChangedCheckpoint changed("qwen2_vl/checkpoints/mlx-bf16");
    const std::string file = cases.at(i)["file"].as_string();
    changed.write("model.safetensors", read_file(fixture_path("bad/safetensors/" + file)));
    SCOPED_TRACE(file + ": " + cases.at(i)["why"].as_string());
    expect_refused(with_model(changed.path(), {}), "safetensors");
  }
  EXPECT_GE(cases.size(), 20u);
}

TEST(BadInput, WeightsThatDoNotFit) {
  ChangedCheckpoint changed("qwen2_vl/checkpoints/mlx-bf16");
  const std::string config = changed.read("config.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.write("config.json", text.replace(at, from.size(), to));
  };
  with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  expect_refused(with_model(changed.path(), {}),
                 "layers.2.input_layernorm.weight' but the checkpoint");
  with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  expect_refused(with_model(changed.path(), {}),
                 "expected no tensor 'language_model.model.layers.1.");
  with("\"intermediate_size\": 128", "\"intermediate_size\": 96");
  expect_refused(with_model(changed.path(), {}), "as [96, 64] but got bfloat16 [128, 64]");
  with("\"num_attention_heads\": 4", "\"num_attention_heads\": 7");
  expect_refused(with_model(changed.path(), {}), "multiple");
}

TEST(BadInput, ShardsOutsideTheFolder) {
  ChangedCheckpoint changed("qwen2_vl/checkpoints/hf-f32");
  changed.write("model.safetensors.index.json", R"({"weight_map": {"a": "../../secret"}})");
  expect_refused(with_model(changed.path(), {}), "inside the folder");
}

TEST(BadInput, PictureForATextModel) {
  ChangedCheckpoint changed("llava/checkpoints/siglip-qwen2-mlx-f32");
  changed.write("config.json",
                R"({"model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 2,
                    "intermediate_size": 64, "vocab_size": 304, "num_attention_heads": 4})");
  expect_refused(with_model(changed.path(), {"--image", picture()}), "takes no pictures");
}

TEST(Prompt, PrintsExactlyWhatTheTemplateGives) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("m.json", R"({"messages": [{"role": "user", "content": "Hi"}]})");
  const auto expected =
      "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
      "<|im_start|>assistant\n";
  EXPECT_EQ(fovea({"prompt", "--messages", file.string(), "--model", qwen()}).out, expected);
  const auto own = folder.write("t.jinja", "{{ messages[0].content }} {{ colour }}");
  const auto more = folder.write(
      "n.json", R"({"messages": [{"role": "user", "content": "Hi"}], "colour": "red"})");
  EXPECT_EQ(
      fovea({"prompt", "--messages", more.string(), "--model", qwen(), "--template", own.string()})
          .out,
      "Hi red");
  const Outcome ids = fovea({"prompt", "--messages", file.string(), "--model", qwen(), "--tokens"});
  EXPECT_GT(Json::parse(ids.out, "ids").size(), 10u);
  expect_refused(
      {"prompt", "--messages", folder.write("bad.json", "[]").string(), "--model", qwen()},
      "'messages'");
}

}  // namespace
}  // namespace fovea
