// The binary as its users run it: bad input gets one sentence and exit code 2, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/json.h"
#include "support/command_line.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea {
namespace {

using testing::command_line;
using testing::expect_refused;
using testing::fixture_path;
using testing::fovea;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::quoted;
using testing::shell;

std::string checkpoint(const std::string& name) { return fixture_path("parity/" + name).string(); }
const std::string& qwen() {
  static const std::string name = checkpoint("qwen2_vl/checkpoints/hf-f32");
  return name;
}
std::string picture() { return checkpoint("qwen2_vl/cases/one_picture/picture.png"); }

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
  const Json times = json["timings"];
  for (const char* key : {"prompt_n", "prompt_ms", "predicted_n", "predicted_ms",
                          "predicted_per_second", "load_ms", "peak_memory"}) {
    EXPECT_TRUE(times[key].is_number()) << key;
  }
  EXPECT_GT(times["process_ms"].as_double(), 0);
  EXPECT_GT(times["vision_ms"].as_double(), 0);
  EXPECT_GT(times["prompt_ms"].as_double(),
            times["process_ms"].as_double() + times["vision_ms"].as_double());
}

Json answer_of(std::vector<std::string> more) {
  more.insert(more.end(), {"--json", "--max-tokens", "4", "--temperature", "0"});
  const Outcome outcome = fovea(with_model(qwen(), more));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return Json::parse(outcome.out, "output");
}

TEST(Generate, JsonStaysOneObjectBesideVerbose) {
  const Outcome outcome =
      fovea(with_model(qwen(), {"--json", "--verbose", "--max-tokens", "2", "--image", picture()}));
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(Json::parse(outcome.out, "output").is_object());
  EXPECT_THAT(outcome.err, HasSubstr("Files: "));
  EXPECT_THAT(outcome.err, HasSubstr("Generation: 2 tokens"));
}

TEST(Generate, VerbosePrintsWhatTheReferencePrints) {
  const Outcome outcome =
      fovea(with_model(qwen(), {"--verbose", "--max-tokens", "2", "--image", picture(),
                                "--logit-bias", "282=-100", "--logit-bias", "280=-100"}));
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, ::testing::StartsWith("==========\nFiles: [" + picture() +
                                                 "]\n\nPrompt: <|im_start|>system\n"));
  EXPECT_THAT(outcome.out,
              ::testing::ContainsRegex("\n==========\nPrompt: [0-9]+ tokens, [0-9]+\\.[0-9]{3} "
                                       "tokens-per-sec\nGeneration: 2 tokens, [0-9]+\\.[0-9]{3} "
                                       "tokens-per-sec\nPeak memory: [0-9]+\\.[0-9]{3} GB\n$"));
  EXPECT_EQ(outcome.out.find("data:"), std::string::npos);
}

TEST(Generate, SeveralPicturesAndASystemMessage) {
  const Json one = answer_of({"--image", picture()});
  const Json two = answer_of({"--image", picture(), "--image", picture()});
  EXPECT_EQ(two["images"].size(), 2u);
  EXPECT_GT(two["timings"]["prompt_n"].as_int(), one["timings"]["prompt_n"].as_int());
  const Outcome outcome =
      fovea(with_model(qwen(), {"--verbose", "--max-tokens", "1", "--system", "Be brief"}));
  EXPECT_THAT(outcome.out, HasSubstr("Prompt: <|im_start|>system\nBe brief<|im_end|>"));
}

TEST(Generate, FitsPicturesIntoABox) {
  const auto used = [](std::vector<std::string> more) {
    more.insert(more.end(), {"--image", picture()});
    return answer_of(more)["images"].at(0)["used_size"]["width"].as_int();
  };
  EXPECT_EQ(used({}), 24);
  EXPECT_EQ(used({"--resize-shape", "20"}), 16);
  EXPECT_EQ(used({"--resize-shape", "100"}), 24);
  EXPECT_EQ(used({"--resize-shape", "100", "12"}), 16);
}

TEST(Generate, ChunksOfThePromptDoNotChangeTheAnswer) {
  const std::string whole = answer_of({"--image", picture()})["token_ids"].dump();
  EXPECT_EQ(answer_of({"--image", picture(), "--prefill-step-size", "3"})["token_ids"].dump(),
            whole);
  EXPECT_EQ(answer_of({"--image", picture(), "--max-kv-size", "400"})["token_ids"].dump(), whole);
  // A cache of five rows forgets the question.
  EXPECT_NE(answer_of({"--image", picture(), "--max-kv-size", "5"})["token_ids"].dump(), whole);
}

TEST(Generate, ReadsPromptsInIntegersWhenAsked) {
  EXPECT_EQ(answer_of({})["timings"]["prefill_bytes"].as_int(), 0);
  const Outcome int8 = fovea(with_model(qwen(), {"--prefill", "int8", "--json"}));
  if (int8.code == 0) {
    EXPECT_GT(Json::parse(int8.out, "answer")["timings"]["prefill_bytes"].as_int(), 0);
  } else {  // a processor without the instructions
    EXPECT_THAT(int8.err, HasSubstr("AVX-512 VNNI"));
  }
  EXPECT_THAT(fovea(with_model(qwen(), {"--prefill", "int7"})).err,
              HasSubstr("[--prefill] expected one of bfloat16, int8 but got 'int7'"));
}

TEST(Generate, KeepsKeysInEightBitsWhenAsked) {
  const auto ids = [](const std::vector<std::string>& more) {
    std::vector<std::string> flags = {"--image", picture(), "--kv-bits", "8"};
    flags.insert(flags.end(), more.begin(), more.end());
    return answer_of(flags)["token_ids"].dump();
  };
  const std::string whole = ids({"--quantized-kv-start", "0"});
  EXPECT_EQ(ids({"--quantized-kv-start", "0", "--prefill-step-size", "3"}), whole);
  EXPECT_EQ(ids({}), answer_of({"--image", picture()})["token_ids"].dump()) << "before row 5000";
  const Outcome four = fovea({"generate", "--prompt", "Hi", "--kv-bits", "4"});
  EXPECT_NE(four.err.find("[--kv-bits] expected one of 0, 8 but got 4"), std::string::npos);
}

TEST(Generate, UsesTheEmbeddedModelWithoutAnother) {
  const Outcome outcome = fovea({"generate", "--prompt", "Hi", "--max-tokens", "1", "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const testing::TemporaryFolder folder;
  expect_refused(shell("FOVEA_MODEL_DIR=" + folder.path().string() + " " +
                       command_line({"generate", "--prompt", "x"})),
                 "[FOVEA_MODEL_DIR] expected a folder with fovea-tiny");
}

TEST(Generate, LostOutputIsAFailure) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("m.json", R"({"messages": [{"role": "user", "content": "Hi"}]})");
  const auto dump = (folder.path() / "dump").string();
  for (const auto& words : std::vector<std::vector<std::string>>{
           with_model(qwen(), {"--max-tokens", "2"}),
           with_model(qwen(), {"--max-tokens", "2", "--json", "--dump", dump}),
           {"prompt", "--model", qwen(), "--messages", file.string()},
           {"--help"}}) {
    for (const char* where : {" >/dev/full", " >&-"}) {
      const Outcome outcome = shell(command_line(words) + where);
      EXPECT_EQ(outcome.code, 1) << command_line(words) << where;
      EXPECT_THAT(outcome.err, ::testing::StartsWith("fovea: [output] expected standard output"));
    }
  }
  EXPECT_THAT(read_file(std::filesystem::path(dump) / "stages.safetensors"), HasSubstr("logits"));
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

// A limit on the size of files stands for a full disk.
TEST(Generate, AFailedDumpLeavesTheOldOne) {
  const testing::TemporaryFolder folder;
  const auto old = folder.write("stages.safetensors", "old");
  const std::string command = command_line(with_model(
      qwen(), {"--image", picture(), "--max-tokens", "1", "--dump", folder.path().string()}));
  const Outcome outcome = shell("trap '' XFSZ; ulimit -f 4; " + command);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("[--dump] expected to write"));
  EXPECT_EQ(read_file(old), "old");
  // Nor does a request that fails before it has anything to dump.
  expect_refused(with_model(qwen(), {"--dump", folder.path().string(), "--image", "/no/cat.jpg"}),
                 "/no/cat.jpg");
  EXPECT_EQ(read_file(old), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Generate, DumpsDoNotFollowLinks) {
  const testing::TemporaryFolder folder;
  const auto precious = folder.write("precious", "keep");
  for (const char* name : {"stages.safetensors", "stages.draft.safetensors"}) {
    std::filesystem::create_symlink(precious, folder.path() / name);
  }
  const Outcome outcome =
      fovea(with_model(qwen(), {"--max-tokens", "1", "--dump", folder.path().string()}));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_file(precious), "keep");
  EXPECT_THAT(read_file(folder.path() / "stages.safetensors"),
              HasSubstr(R"("__metadata__":{"format":"mlx"})"));
}

TEST(Generate, DumpsOneRowOfPositionsAsAList) {
  const testing::TemporaryFolder folder;
  const Outcome outcome =
      fovea({"generate", "--model", checkpoint("llava/checkpoints/siglip-qwen2-mlx-f32"),
             "--prompt", "x", "--max-tokens", "1", "--dump", folder.path().string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string bytes = read_file(folder.path() / "stages.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const Json header = Json::parse(bytes.substr(sizeof length, length), "stages");
  EXPECT_EQ(header["position_ids"]["shape"].size(), 1u) << header.dump();
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
      "--logit-bias 282=-100 --logit-bias 280=-100";
  // Shells start background commands with SIGINT ignored; env puts it back.
  const std::string command = fmt::format(
      "env --default-signal=INT {0} generate --model {1} {2} >{3} 2>/dev/null & id=$!; "
      "while kill -0 $id 2>/dev/null && ! [ -s {3} ]; do sleep 0.01; done; "
      "kill -INT $id; wait $id",
      FOVEA_BINARY, qwen(), words, out);
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(read_file(out), HasSubstr("Generation: "));
  EXPECT_THAT(read_file(out), HasSubstr("Peak memory: "));
}

TEST(Generate, AnIgnoredCtrlCStaysIgnored) {
  const testing::TemporaryFolder folder;
  const auto out = (folder.path() / "out").string();
  const std::string command = command_line(
      with_model(qwen(), {"--max-tokens", "100", "--check-kernels", "--temperature", "1", "--seed",
                          "3", "--logit-bias", "282=-100", "--logit-bias", "280=-100"}));
  const Outcome outcome =
      shell(fmt::format("trap '' INT; {0} >{1} & id=$!; while kill -0 $id 2>/dev/null && ! [ -s "
                        "{1} ]; do sleep 0.01; "
                        "done; kill -INT $id; wait $id",
                        command, out));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("kernels agree"));
}

TEST(BadInput, NamesThatCannotBeOpened) {
  const testing::TemporaryFolder folder;
  const auto loop = (folder.path() / "loop").string();
  std::filesystem::create_symlink(loop, loop);
  const std::string file = folder.write("file", "x").string();
  for (const auto& name : {loop, std::string(300, 'n'), file + "/below"}) {
    expect_refused(with_model(name, {}), "[model] expected");
    expect_refused(with_model(qwen(), {"--image", name}),
                   "[file] expected a file that can be read");
    expect_refused({"prompt", "--model", qwen(), "--messages", name},
                   "[file] expected a file that can be read");
  }
  expect_refused(with_model("", {}), "there is no folder ''");
  expect_refused(with_model(qwen(), {"--dump", ""}), "[--dump] expected a folder");
}

TEST(BadInput, Environment) {
  const std::string command = command_line(with_model(qwen(), {"--max-tokens", "1"}));
  for (const char* threads : {"abc", "0", "257", "-1", "2x"}) {
    expect_refused(shell(fmt::format("FOVEA_THREADS={} {}", threads, command)),
                   fmt::format("fovea: [FOVEA_THREADS] expected a whole number from 1 to 256 but "
                               "got '{}'",
                               threads));
  }
  expect_refused(shell("FOVEA_ISA=foo " + command), "fovea: [FOVEA_ISA] expected");
  expect_refused(shell("FOVEA_EXACT=yes " + command),
                 "fovea: [FOVEA_EXACT] expected 0, 1 or 2 but got 'yes'");
}

TEST(BadInput, ModelsThatAreNotThere) {
  expect_refused(with_model("/no/such/folder", {}), "there is no folder '/no/such/folder'");
  expect_refused(with_model("nobody/nothing", {}), "'nobody/nothing'");
  const testing::TemporaryFolder folder;
  expect_refused(with_model(folder.path().string(), {}), "config.json");
  folder.write("config.json", "{");
  expect_refused(with_model(folder.path().string(), {}), "[config.json] expected JSON");
  folder.write("config.json", R"({"model_type": "warp_drive"})");
  expect_refused(with_model(folder.path().string(), {}), "llava, llava-qwen2, llava_next");
}

TEST(BadInput, FlagsOutOfRange) {
  const auto refused = [](std::vector<std::string> more, const std::string& sentence) {
    more.insert(more.begin(), {"generate", "--prompt", "x"});
    expect_refused(more, sentence);
  };
  refused({"--top-p", "2"}, "[--top-p] expected a number from 0 to 1 but got '2'");
  refused({"--temperature", "-1"}, "[--temperature] expected a number from 0 to 100 but got '-1'");
  refused({"--max-tokens", "abc"}, "[--max-tokens] expected a whole number from 1 to 1073741824");
  refused({"--max-tokens", "0"}, "[--max-tokens] expected");
  for (const char* seed : {"-1", "18446744073709551616", "1.5", ""}) {
    refused({"--seed", seed}, "[--seed] expected a whole number from 0 to 18446744073709551615");
  }
  for (const char* bias : {"a=b", "5", "=1", "5=", "5=inf", "5=-inf", "5=nan", "-1=2", "5=1e99"}) {
    refused({"--logit-bias", bias},
            fmt::format("[--logit-bias] expected ID=BIAS but got '{}'", bias));
  }
  refused({"--prompt", "y"}, "[--prompt] expected one value but got 2");
  refused({"--image", "-", "--image", "-"}, "named twice");
  refused({"--resize-shape", "100", "--resize-shape", "50"}, "more than once");
  refused({"--resize-shape", "0"}, "[--resize-shape] expected a whole number from 1");
  refused({"--top-p"}, "[--top-p] expected a value but got none");
  refused({"--dance"}, "[generate] expected flags that --help lists but got '--dance'");
  expect_refused({"generate"}, "--prompt, --image or --video");
  expect_refused({"prompt"}, "[prompt] expected --messages but got none");
  expect_refused({"dance"},
                 "[fovea] expected a subcommand (convert, doctor, generate, models, prompt");
  expect_refused({"dance"}, "but got 'dance'");
  expect_refused(std::vector<std::string>(), "but got none");
}

TEST(BadInput, RequestsAreCheckedBeforeTheWeights) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json",
                           "preprocessor_config.json", "chat_template.json"}) {
    const auto file = std::filesystem::path(qwen()) / name;
    if (std::filesystem::exists(file)) folder.write(name, read_file(file));
  }
  const std::string model = folder.path().string();
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  expect_refused({"generate", "--model", model, "--prompt", text}, "fewer than 512 tokens");
  expect_refused(with_model(model, {"--logit-bias", "1000000=1"}), "[sampling] expected biases");
  folder.write("generation_config.json", R"({"temperature": 1, "top_p": 7})");
  expect_refused(with_model(model, {}), "[generation_config.json] expected top_p from 0 to 1");
}

TEST(BadInput, PicturePlaceholdersInTheText) {
  expect_refused({"generate", "--model", qwen(), "--prompt", "<|image_pad|>"},
                 "[prompt] expected text without the picture token '<|image_pad|>'");
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

// What the refusal of each weight file must say; empty for a file that is not listed.
std::string reason_of(const std::string& file) {
  static const std::map<std::string, std::string> kReasons = {
      {"array_header", "invalid type: sequence"},
      {"data_cut_short", "file not fully covered"},
      {"deep_json", "recursion limit exceeded"},
      {"empty", "it is empty"},
      {"fractional_shape", "floating point `1.5`"},
      {"gap", "invalid offset for tensor"},
      {"header_cut_short", "EOF while parsing"},
      {"header_longer_than_file", "invalid header length"},
      {"huge_header", "header too large"},
      {"missing_offsets", "missing field `data_offsets`"},
      {"negative_shape", "integer `-1`"},
      {"not_json", "key must be a string"},
      {"number_as_dtype", "integer `5`"},
      {"offset_wraps", "invalid offset for tensor `a`"},
      {"overlap", "invalid offset for tensor"},
      {"product_wraps", "overflow computing buffer size"},
      {"reversed_offsets", "invalid offset for tensor `a`"},
      {"seven_bytes", "header too small"},
      {"size_mismatch", "invalid shape, data type, or offset"},
      {"trailing_bytes", "file not fully covered"},
      {"unknown_dtype", "unknown variant `F31`"},
  };
  const auto found = kReasons.find(file.substr(0, file.find('.')));
  return found == kReasons.end() ? "" : found->second;
}

TEST(BadInput, HostileWeightFiles) {
  const Json cases = testing::read_fixture("bad/cases.json")["safetensors"];
  for (size_t i = 0; i < cases.size(); ++i) {
    ChangedCheckpoint changed("number_types/checkpoints/mlx-bf16");
    const std::string file = cases.at(i)["file"].as_string();
    changed.write("model.safetensors", read_file(fixture_path("bad/safetensors/" + file)));
    SCOPED_TRACE(file + ": " + cases.at(i)["why"].as_string());
    const std::string reason = reason_of(file);
    EXPECT_NE(reason, "") << "a case without its reason";
    expect_refused(with_model(changed.path(), {}), reason);
  }
  EXPECT_GE(cases.size(), 20u);
}

TEST(BadInput, WeightsThatDoNotFit) {
  ChangedCheckpoint changed("number_types/checkpoints/mlx-bf16");
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
  with("\"intermediate_size\": 64", "\"intermediate_size\": 96");
  expect_refused(with_model(changed.path(), {}),
                 "as floating-point [96, 32] but got bfloat16 [64, 32]");
  with("\"num_attention_heads\": 2", "\"num_attention_heads\": 7");
  expect_refused(with_model(changed.path(), {}), "multiple");
}

TEST(BadInput, ConfigValuesOfAnotherType) {
  ChangedCheckpoint changed("number_types/checkpoints/mlx-bf16");
  const std::string config = changed.read("config.json");
  const auto begin = config.find('{') + 1;
  for (const std::string key : {"rope_parameters", "quantization"}) {
    changed.write("config.json", "{\"" + key + "\": \"x\", " + config.substr(begin));
    expect_refused(with_model(changed.path(), {}), "an object at '" + key + "'");
  }
  changed.write("config.json", "{" + config.substr(begin));
  changed.write("generation_config.json", R"({"eos_token_id": 1180591620717411303424})");
  expect_refused(with_model(changed.path(), {}), "eos_token_id");
}

TEST(BadInput, WeightsThatAreALinkToThemselves) {
  ChangedCheckpoint changed("number_types/checkpoints/mlx-bf16");
  const auto weights = std::filesystem::path(changed.path()) / "model.safetensors";
  std::filesystem::remove(weights);
  std::filesystem::create_symlink("model.safetensors", weights);
  expect_refused(with_model(changed.path(), {}), "model.safetensors");
}

TEST(BadInput, SizesOfTheVisionTower) {
  ChangedCheckpoint changed("number_types/checkpoints/mlx-bf16");
  const std::string config = changed.read("config.json");
  const std::string begin = "\"vision_config\": {";
  const auto at = config.find(begin);
  ASSERT_NE(at, std::string::npos);
  for (const std::string key :
       {"mlp_ratio", "in_channels", "temporal_patch_size", "patch_size", "spatial_merge_size"}) {
    for (const char* value : {"-1", "0", "1e30", "2147483647"}) {
      std::string text = config;
      // The old entry goes under another name.
      if (const auto old = text.find("\"" + key + "\"", at); old != std::string::npos) {
        text.replace(old, key.size() + 2, "\"was\"");
      }
      text.insert(at + begin.size(), fmt::format("\"{}\": {}, ", key, value));
      changed.write("config.json", text);
      expect_refused(with_model(changed.path(), {}), key);
    }
  }
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
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
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
  const auto refused = [&](const char* json, const std::string& sentence) {
    const auto bad = folder.write("bad.json", json).string();
    expect_refused({"prompt", "--messages", bad, "--model", qwen()}, sentence);
  };
  refused("[]", "expected an object but got a list");
  refused("{}", "expected a list at 'messages' but got nothing");
  expect_refused({"prompt", "--messages", file.string(), "--model", qwen(), "--template",
                  folder.write("empty", "").string()},
                 "[--template] expected a Jinja template");
}

TEST(Prompt, NeedsNoWeightsAndPassesEverythingOn) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    folder.write(name, read_file(std::filesystem::path(qwen()) / name));
  }
  const auto own = folder.write(
      "t.jinja",
      "{{ messages[0].content }}|{{ tools[0].function.name }}|{{ add_generation_prompt }}");
  const auto file = folder.write("m.json", R"({"messages": [{"role": "user", "content": "Hi"}],
      "tools": [{"type": "function", "function": {"name": "clock"}}],
      "add_generation_prompt": false})");
  const Outcome outcome = fovea({"prompt", "--messages", file.string(), "--model",
                                 folder.path().string(), "--template", own.string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Hi|clock|False");
  const Outcome whole = fovea({"prompt", "--messages", file.string(), "--model", qwen()});
  EXPECT_EQ(whole.out.find("<|im_start|>assistant"), std::string::npos);
}

TEST(Models, ListsEveryFamilyWithItsPartsAndMedia) {
  const Outcome outcome = fovea({"models", "--supported"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("model_type +parts +media\n"));
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("llava +CLIP or SigLIP; MLP; .* pictures"));
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("qwen2_vl +2-D rotary .* pictures, videos"));
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("mistral +mistral +none\n"));
}

TEST(Doctor, SaysWhichInstructionSetWasChosenAndWhy) {
  const Outcome usual = fovea({"doctor", "--isa"});
  EXPECT_EQ(usual.code, 0) << usual.err;
  EXPECT_THAT(usual.out, HasSubstr("the best of those that run here"));
  EXPECT_THAT(usual.out, HasSubstr("scalar   runs everywhere"));
  const Outcome told = shell("FOVEA_ISA=scalar " + command_line({"doctor", "--isa"}));
  EXPECT_THAT(told.out, HasSubstr("instruction set: scalar, as FOVEA_ISA asks"));
  EXPECT_THAT(told.out, HasSubstr("prompt rows: float32 products"));
  EXPECT_THAT(told.out, HasSubstr("decode rows: 8-bit activations"));
  const Outcome exact = shell("FOVEA_EXACT=1 " + command_line({"doctor", "--isa"}));
  EXPECT_THAT(exact.out, HasSubstr("decode rows: as prompt rows"));
  expect_refused(shell("FOVEA_ISA=sse9 " + command_line({"doctor"})), "[FOVEA_ISA] expected");
}

TEST(Synth, WritesCheckpointsThatAnswer) {
  const testing::TemporaryFolder folder;
  for (const char* shape : {"qwen2_vl-tiny", "llava-tiny"}) {
    for (const char* bits : {"4", "16"}) {
      const auto out = (folder.path() / shape / bits).string();
      const Outcome made = fovea({"synth", shape, "--bits", bits, out});
      ASSERT_EQ(made.code, 0) << made.err;
      EXPECT_THAT(made.out, HasSubstr("of weights in 1 file\n"));
      const Outcome answer = fovea({"generate", "--model", out, "--image", picture(), "--prompt",
                                    "a b", "--max-tokens", "4", "--json", "--check-kernels"});
      ASSERT_EQ(answer.code, 0) << answer.err;
      const Json json = Json::parse(answer.out, "output");
      const int64_t tokens = json["usage"]["completion_tokens"].as_int();
      EXPECT_TRUE(tokens == 4 || json["finish_reason"].as_string() == "stop") << tokens;
    }
  }
}

TEST(Synth, RefusesInOneSentence) {
  const testing::TemporaryFolder folder;
  const auto out = (folder.path() / "out").string();
  expect_refused({"synth"}, "llava-1.5-7b");
  expect_refused({"synth", "gpt-9", out}, "but got 'gpt-9'");
  expect_refused({"synth", "llava-tiny"}, "expected a folder to write");
  expect_refused({"synth", "llava-tiny", "--bits", "7", out},
                 "[--bits] expected one of 2, 3, 4, 5, 6, 8, 16 but got 7");
  expect_refused({"synth", "llava-tiny", "--bits", "3", "--bits", "4", out},
                 "[--bits] expected one value but got 2");
  expect_refused({"synth", "llava-tiny", "--seed", "-1", out}, "[--seed] expected");
  expect_refused({"synth", "llava-tiny", "--layers", "0", out}, "[--layers] expected");
  expect_refused({"synth", "llava-tiny", "--group-size", "48", out}, "--group-size");
  expect_refused({"synth", "llava-tiny", "--dtype", "int8", out}, "--dtype");
  EXPECT_FALSE(std::filesystem::exists(out));
  const auto file = folder.write("file", "x");
  expect_refused({"synth", "llava-tiny", folder.path().string()}, "has files already");
  expect_refused({"synth", "llava-tiny", file.string()}, "expected a folder that can be written");
  expect_refused({"synth", "llava-tiny", "/proc/nowhere"}, "expected a folder that can be written");
}

}  // namespace
}  // namespace fovea
