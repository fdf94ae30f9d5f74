// Tokenizers, templates and messages against the answers of their makers in tests/fixtures.
#include <gtest/gtest.h>
#include <time.h>

#include <map>
#include <random>

#include "processors/chat_template.h"
#include "processors/processor.h"
#include "processors/tokenizer.h"
#include "support/expect_error.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

namespace fovea::processors {
namespace {

using testing::fixture_path;
using testing::read_fixture;

std::shared_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  Checkpoint checkpoint;
  checkpoint.folder = fixture_path("tokenizers/" + name);
  return Tokenizer::load(checkpoint);
}

std::vector<int32_t> ids_of(const Json& list) {
  const auto ids = list.as_int_list();
  return {ids.begin(), ids.end()};
}

bool is_whole_utf8(const std::string& text) {
  int expected = 0;
  for (const char raw : text) {
    const auto c = static_cast<unsigned char>(raw);
    if (expected > 0) {
      if ((c & 0xC0) != 0x80) return false;
      --expected;
    } else if (c >= 0x80) {
      expected = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    }
  }
  return expected == 0;
}

std::string streamed(const std::shared_ptr<Tokenizer>& tokenizer, const std::vector<int32_t>& ids,
                     bool skip_special_tokens = false) {
  const auto decoder = make_stream_decoder(tokenizer, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = decoder->add(id);
    EXPECT_TRUE(is_whole_utf8(piece));
    text += piece;
  }
  return text + decoder->finish();
}

class Tokenizers : public ::testing::TestWithParam<const char*> {};

TEST_P(Tokenizers, EncodeAndDecodeAsTheLibrary) {
  const auto tokenizer = tokenizer_named(GetParam());
  const Json encodings =
      read_fixture(fmt::format("tokenizers/{}/cases.json", GetParam()))["encodings"];
  ASSERT_GE(encodings.size(), 60u);
  for (size_t i = 0; i < encodings.size(); ++i) {
    const Json c = encodings.at(i);
    const std::string text = c["text"].as_string();
    const auto ids = ids_of(c["ids"]);
    EXPECT_EQ(tokenizer->encode(text, true), ids) << text;
    EXPECT_EQ(tokenizer->encode(text, false), ids_of(c["ids_without_special_tokens"])) << text;
    EXPECT_EQ(tokenizer->decode(ids, false), c["decoded"].as_string()) << text;
    EXPECT_EQ(tokenizer->decode(ids, true), c["decoded_skipping_special_tokens"].as_string());
    EXPECT_EQ(streamed(tokenizer, ids), c["decoded"].as_string()) << text;
    EXPECT_EQ(streamed(tokenizer, ids, true), c["decoded_skipping_special_tokens"].as_string());
  }
}

// Each id gives the whole characters that it completes. Only a run of byte tokens is held until the
// next other token: one bad byte would change what all of it spells.
TEST_P(Tokenizers, StreamWholeCharacters) {
  const auto tokenizer = tokenizer_named(GetParam());
  const Json streams = read_fixture(fmt::format("tokenizers/{}/cases.json", GetParam()))["streams"];
  ASSERT_GT(streams.size(), 10u);
  for (size_t i = 0; i < streams.size(); ++i) {
    const Json stream = streams.at(i);
    const auto decoder = make_stream_decoder(tokenizer, false);
    std::string held;
    std::string text;
    const auto ids = ids_of(stream["ids"]);
    for (size_t n = 0; n < ids.size(); ++n) {
      held += stream["segments"].at(n).as_string();
      const std::string piece = decoder->add(ids[n]);
      text += piece;
      if (tokenizer->id_to_token(ids[n]).starts_with("<0x")) {
        EXPECT_EQ(piece, "") << stream.dump() << " id " << n;
        continue;
      }
      EXPECT_EQ(piece, held) << stream.dump() << " id " << n;
      held.clear();
    }
    const std::string rest = decoder->finish();
    EXPECT_EQ(rest, held + stream["at_end"].as_string()) << stream.dump();
    EXPECT_EQ(text + rest, stream["text"].as_string()) << stream.dump();
  }
}

TEST_P(Tokenizers, StreamRandomIdsAsTheyDecode) {
  const auto tokenizer = tokenizer_named(GetParam());
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 12; ++i) {
      ids.push_back(
          static_cast<int32_t>(random() % static_cast<unsigned>(tokenizer->vocab_size())));
    }
    EXPECT_EQ(streamed(tokenizer, ids), tokenizer->decode(ids, false)) << fmt::format("{}", ids);
    EXPECT_EQ(streamed(tokenizer, ids, true), tokenizer->decode(ids, true))
        << fmt::format("{}", ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Tokenizers,
                         ::testing::Values("byte_level", "sentencepiece", "unigram"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST(Tokenizer, EachBadFileHasItsSentence) {
  const testing::TemporaryFolder folder;
  Checkpoint checkpoint;
  checkpoint.folder = folder.path();
  checkpoint.name = "here";
  EXPECT_ERROR(Tokenizer::load(checkpoint), ErrorKind::kNotFound, "tokenizer.json in 'here'");
  folder.write("tokenizer.json", "{}");
  EXPECT_ERROR(Tokenizer::load(checkpoint), ErrorKind::kInvalidData, "[tokenizer.json]");
}

int64_t seconds_of(const std::string& iso) {
  tm parts{};
  strptime(iso.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return timegm(&parts);
}

// What the template gave, or how it failed.
std::string outcome(const std::string& source, const Json& context, int64_t now) {
  try {
    return "text: " + ChatTemplate(source).render_at(context, now);
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kInvalidArgument ? std::string("raised: ") + error.what()
                                                       : std::string("failed");
  }
}

// What minijinja does otherwise than Jinja2, by the template's text; no released template that we
// know of depends on it.
const std::map<std::string, std::string> kTemplateDifferences = {
    {R"({{ "%s-%s" % ("a", "b") }})", "strings have no % operator"},
    {R"({{ 0 and 1 }})", "`0 and 1` of two constants is false, not 0"},
    {R"({{ ("x",) }})", "a tuple of the template's own prints as a list"},
    {R"({{ "x" ~ ["a"] }})", "so does a list of its own, with double quotes, under ~"},
};

TEST(ChatTemplate, RendersAsTransformers) {
  int passed = 0;
  size_t known = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixture_path("templates"))) {
    const std::string name = "templates/" + entry.path().filename().string();
    const Json fixture = read_fixture(name);
    const int64_t now = seconds_of(fixture["now"].as_string());
    const Json cases = fixture["cases"];
    for (size_t i = 0; i < cases.size(); ++i) {
      const Json c = cases.at(i);
      const auto index = static_cast<size_t>(c["template"].as_int32());
      const std::string source = fixture["templates"].at(index).as_string();
      const Json context = c.contains("context") ? c["context"] : fixture["context"];
      std::string expected = "failed";
      if (c.contains("expected")) expected = "text: " + c["expected"].as_string();
      if (c.contains("error")) expected = "raised: [chat template] " + c["error"].as_string();
      const std::string got = outcome(source, context, now);
      if (kTemplateDifferences.contains(source)) {
        EXPECT_NE(got, expected) << "no longer a difference: " << name << " case " << i;
        ++known;
        continue;
      }
      EXPECT_EQ(got, expected) << name << " case " << i << "\n" << source;
      passed += got == expected;
    }
  }
  std::printf("%d renderings equal those of transformers, %zu known to differ\n", passed, known);
  EXPECT_GE(passed, 250);
  EXPECT_EQ(known, kTemplateDifferences.size());
}

// image, image_url, input_image
bool is_picture(const Json& part) {
  return part.get_string("type", "").find("image") != std::string::npos;
}

ChatRequest request_of(const Json& prompt, int images) {
  ChatRequest request;
  request.images.resize(static_cast<size_t>(images));
  if (prompt.is_string()) {
    request.messages = {{"user", {{Part::Kind::kText, prompt.as_string(), -1}}, {}}};
    return request;
  }
  int next = 0;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt.at(i).is_string()) {
      request.messages.push_back({"user", {{Part::Kind::kText, prompt.at(i).as_string(), -1}}, {}});
      continue;
    }
    Message message{prompt.at(i)["role"].as_string(), {}, {}};
    const Json content = prompt.at(i)["content"];
    if (content.is_string()) message.parts = {{Part::Kind::kText, content.as_string(), -1}};
    for (size_t p = 0; content.is_array() && p < content.size(); ++p) {
      const Json part = content.at(p);
      if (is_picture(part)) {
        message.parts.push_back({Part::Kind::kImage, "", next++});
      } else {
        const std::string text = part.get_string("text", part.get_string("content", ""));
        message.parts.push_back({Part::Kind::kText, text, -1});
      }
    }
    request.messages.push_back(std::move(message));
  }
  return request;
}

int marked_pictures(const Json& prompt) {
  int count = 0;
  for (size_t i = 0; i < prompt.size(); ++i) {
    const Json content = prompt.at(i)["content"];
    for (size_t p = 0; content.is_array() && p < content.size(); ++p) {
      count += is_picture(content.at(p));
    }
  }
  return count;
}

TEST(Processor, BuildsMessagesAsMlxVlm) {
  int compared = 0;
  for (const char* family : {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "idefics3"}) {
    const Json fixture = read_fixture(fmt::format("messages/{}.json", family));
    const Processor processor(
        open_checkpoint(fixture_path(fixture["checkpoint"].as_string()).string()));
    const Json cases = fixture["cases"];
    for (size_t i = 0; i < cases.size(); ++i) {
      const Json c = cases.at(i);
      const int images = c["images"].as_int32();
      // A marker without its picture is an error here, not a prompt.
      if (c["prompt"].is_array() && marked_pictures(c["prompt"]) > images) continue;
      const ChatRequest request = request_of(c["prompt"], images);
      const std::string rendered =
          processor.chat_template().render(processor.template_context(request));
      EXPECT_EQ(rendered, c["rendered"].as_string()) << family << " " << c["prompt"].dump();
      ++compared;
    }
  }
  EXPECT_GE(compared, 40);
}

// Their templates take a system message as one string.
TEST(Processor, GivesOthersThanUsersAStringWhereTheFamilySaysSo) {
  for (const char* checkpoint : {"pixtral/checkpoints/mlx-4bit", "mllama/checkpoints/hf-bf16"}) {
    const Processor processor(
        open_checkpoint(fixture_path("parity/" + std::string(checkpoint)).string()));
    ChatRequest request;
    request.messages = {{"system", {{Part::Kind::kText, "Be brief.", -1}}, {}},
                        {"user", {{Part::Kind::kText, "Hi", -1}}, {}},
                        {"assistant", {{Part::Kind::kText, "Yes.", -1}}, {}}};
    const Json messages = processor.template_context(request)["messages"];
    EXPECT_EQ(messages.at(0)["content"].as_string(), "Be brief.") << checkpoint;
    EXPECT_TRUE(messages.at(1)["content"].is_array()) << checkpoint;
    EXPECT_EQ(messages.at(2)["content"].as_string(), "Yes.") << checkpoint;
  }
}

TEST(Processor, KnowsWhatEndsATurn) {
  for (const auto& [name, end] : {std::pair{"idefics3/checkpoints/hf-f32", "<end_of_utterance>"},
                                  {"idefics3/checkpoints/smolvlm-mlx-4bit", "<end_of_utterance>"},
                                  {"internvl_chat/checkpoints/hf-bf16", "<|im_end|>"},
                                  {"internvl_chat/checkpoints/qwen3-rms", "<|im_end|>"},
                                  {"internvl_chat/checkpoints/llama-bf16", "<|im_end|>"},
                                  {"llava_bunny/checkpoints/hf-bf16", "<|im_end|>"},
                                  {"phi3_v/checkpoints/hf-bf16", "<|end|>"}}) {
    SCOPED_TRACE(name);
    const Processor processor(
        open_checkpoint(fixture_path(fmt::format("parity/{}", name)).string()));
    ASSERT_TRUE(processor.turn_end_id());
    EXPECT_EQ(processor.tokenizer()->id_to_token(*processor.turn_end_id()), end);
    // The template says so: what it renders of an answer ends with it.
    ChatRequest request;
    request.messages = {{"user", {{Part::Kind::kText, "a", -1}}, {}},
                        {"assistant", {{Part::Kind::kText, "b", -1}}, {}},
                        {"user", {{Part::Kind::kText, "c", -1}}, {}}};
    const std::string text = processor.chat_template().render(processor.template_context(request));
    const size_t answer = text.find('b', text.find("ssistant"));
    ASSERT_NE(answer, std::string::npos) << text;
    EXPECT_EQ(text.substr(answer + 1, std::string_view(end).size()), end) << text;
  }
  // Those whose config or tokenizer names their end.
  for (const char* name : {"llava_bunny/checkpoints/llama-bf16", "qwen2_vl/checkpoints/hf-f32"}) {
    const Processor processor(
        open_checkpoint(fixture_path(fmt::format("parity/{}", name)).string()));
    EXPECT_FALSE(processor.turn_end_id()) << name;
  }
}

TEST(Processor, NumbersPicturesInTheOrderOfTheirMarkers) {
  const Processor processor(
      open_checkpoint(fixture_path("parity/phi3_v/checkpoints/hf-bf16").string()));
  // Picture 1 is named by the first message, 0 and 2 by none.
  ChatRequest request;
  request.images.resize(3);
  request.messages = {{"user", {{Part::Kind::kImage, "", 1}, {Part::Kind::kText, "a", -1}}, {}},
                      {"assistant", {{Part::Kind::kText, "b", -1}}, {}},
                      {"user", {{Part::Kind::kText, "c", -1}}, {}}};
  EXPECT_EQ(processor.chat_template().render(processor.template_context(request)),
            "<|user|>\n<|image_1|>\na<|end|>\n<|assistant|>\nb<|end|>\n"
            "<|user|>\n<|image_2|>\n<|image_3|>\nc<|end|>\n<|assistant|>\n");
  request = request_of(Json::parse(R"("see <|image_1|>")", "t"), 0);
  EXPECT_ERROR(processor.process(request), ErrorKind::kInvalidArgument,
               "expected text without the picture token '<|image_1|>' but got it 1 times");
}

TEST(Processor, TellsWhatDoesNotFit) {
  const Processor processor(
      open_checkpoint(fixture_path("parity/qwen2_vl/checkpoints/hf-f32").string()));
  auto request = request_of(Json::parse(R"("see <|image_pad|>")", "t"), 0);
  EXPECT_ERROR(processor.process(request), ErrorKind::kInvalidArgument,
               "[prompt] expected text without the picture token '<|image_pad|>'");
  request = request_of(Json::parse(R"("x")", "t"), 1);
  request.messages[0].role = "system";
  EXPECT_ERROR(processor.template_context(request), ErrorKind::kInvalidArgument, "user message");
}

}  // namespace
}  // namespace fovea::processors
