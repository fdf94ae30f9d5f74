#include "processors/chat_template.h"

#include <gtest/gtest.h>

#include "core/limits.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fovea::processors {
namespace {

Json context(const std::string& text) { return Json::parse(text, "context"); }

constexpr const char* kMessages = R"({"messages": [{"role": "user", "content": "Hi"}]})";

ChatTemplate load(const testing::TemporaryFolder& folder) {
  Checkpoint checkpoint;
  checkpoint.folder = folder.path();
  return ChatTemplate::load(checkpoint);
}

TEST(ChatTemplate, ComesFromWhereverTheCheckpointKeepsIt) {
  const testing::TemporaryFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": "config", "bos_token": "<s>"})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "config");
  folder.write("chat_template.json", R"({"chat_template": "json {{ bos_token }}"})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "json <s>");
  folder.write("chat_template.jinja", "jinja {{ messages[0].content }}");
  EXPECT_EQ(load(folder).render(context(kMessages)), "jinja Hi");
  folder.write("processor_config.json", R"({"chat_template": "processor"})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "processor");
}

TEST(ChatTemplate, ComesFromTheFolderOfTemplates) {
  const testing::TemporaryFolder folder;
  folder.write("chat_templates/tool_use.jinja", "tools");
  folder.write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "config");
  EXPECT_EQ(load(folder).render(context(R"({"messages": [], "tools": [{}]})")), "tools");
  folder.write("chat_templates/default.jinja", "default");
  EXPECT_EQ(load(folder).render(context(kMessages)), "default");
  folder.write("chat_template.jinja", "jinja");
  EXPECT_EQ(load(folder).render(context(kMessages)), "jinja");
}

TEST(ChatTemplate, OfAnotherFormIsAnError) {
  const testing::TemporaryFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_ERROR(load(folder), ErrorKind::kInvalidData,
               "[tokenizer_config.json] expected a chat template named 'default' but got 'rag'");
  folder.write("tokenizer_config.json", R"({"chat_template": []})");
  EXPECT_ERROR(load(folder), ErrorKind::kInvalidData, "but got an empty list");
  folder.write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_ERROR(load(folder), ErrorKind::kInvalidData, "'chat_template'");
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_ERROR(load(folder), ErrorKind::kInvalidData, "template");
}

TEST(ChatTemplate, AnEmptyOneIsATemplate) {
  const testing::TemporaryFolder folder;
  folder.write("chat_template.jinja", "");
  EXPECT_EQ(load(folder).render(context(kMessages)), "");
  EXPECT_EQ(ChatTemplate("x").with_source("").render(context(kMessages)), "");
}

TEST(ChatTemplate, PicksTheNamedTemplateForTools) {
  const testing::TemporaryFolder folder;
  folder.write("tokenizer_config.json",
               R"({"eos_token": {"content": "</s>"}, "chat_template": [
                  {"name": "default", "template": "plain{{ eos_token }}"},
                  {"name": "tool_use", "template": "tools {{ tools | length }}"}]})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "plain</s>");
  EXPECT_EQ(load(folder).render(context(R"({"messages": [], "tools": [{}, {}]})")), "tools 2");
}

TEST(ChatTemplate, SeesTheTokensThatOnlyItsCheckpointHas) {
  const testing::TemporaryFolder folder;
  folder.write("tokenizer_config.json",
               R"({"chat_template": "{{ image_token }}{{ sep_token }}", "sep_token": "|",
                  "extra_special_tokens": {"image_token": "<image>"}})");
  EXPECT_EQ(load(folder).render(context(kMessages)), "<image>|");
}

TEST(ChatTemplate, WithoutAnyWritesPlainLines) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(load(folder).render(context(kMessages)), "Hi");
  const auto two = R"({"messages": [
      {"role": "system", "content": "S"},
      {"role": "user", "content": [{"type": "text", "text": "U"}]}]})";
  EXPECT_EQ(load(folder).render(context(two)), "System: S\nUser: U\nAssistant:");
}

TEST(ChatTemplate, RefusalsAndBrokenTemplatesAreErrors) {
  EXPECT_ERROR(ChatTemplate("{{ raise_exception('no tools') }}").render(context("{}")),
               ErrorKind::kInvalidArgument, "[chat template] no tools");
  EXPECT_ERROR(ChatTemplate("{% if %}").render(context("{}")), ErrorKind::kInvalidData,
               "[chat template] expected a template that renders");
}

// What instructions and output cost is bounded; the memory of values that double is not.
TEST(ChatTemplate, EndlessInstructionsAndOutputAreErrors) {
  const char* deep =
      "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% for b in range(99) %}"
      "{% set n.x = [n.x] %}{% endfor %}{% endfor %}";
  EXPECT_ERROR(ChatTemplate(deep).render(context("{}")), ErrorKind::kInvalidData, "fuel");
  const char* wide = "{% set x = 'x' * 1000000 %}{% for a in range(9999) %}{{ x }}{% endfor %}";
  EXPECT_ERROR(ChatTemplate(wide).render(context("{}")), ErrorKind::kInvalidData, "bytes of text");
  EXPECT_EQ(ChatTemplate("{{ 'abc'.count('') }}").render(context("{}")), "4");
}

TEST(ChatTemplate, HoldsItsLimits) {
  const auto size = [](size_t bytes) {
    return ChatTemplate(fmt::format("{{{{ 'x' * {} }}}}", bytes)).render(context("{}")).size();
  };
  EXPECT_EQ(size(kPromptBytesMax - 1), kPromptBytesMax - 1);
  EXPECT_EQ(size(kPromptBytesMax), kPromptBytesMax);
  EXPECT_ERROR(size(kPromptBytesMax + 1), ErrorKind::kInvalidData,
               "more than 16777216 bytes of text");
  const auto indented = [](int spaces) {
    return ChatTemplate(fmt::format("{{{{ [1] | tojson(indent={}) }}}}", spaces))
        .render(context("{}"))
        .size();
  };
  EXPECT_EQ(indented(kTemplateIndentMax - 1), kTemplateIndentMax + 4u);
  EXPECT_EQ(indented(kTemplateIndentMax), kTemplateIndentMax + 5u);
  EXPECT_ERROR(indented(kTemplateIndentMax + 1), ErrorKind::kInvalidData, "at most 100");
  EXPECT_ERROR(indented(2'000'000'000), ErrorKind::kInvalidData, "at most 100");
  const auto padded = [](int width) {
    return ChatTemplate(fmt::format("{{{{ 'a'.ljust({}) }}}}", width)).render(context("{}")).size();
  };
  EXPECT_EQ(padded(kTemplateWidthMax - 1), kTemplateWidthMax - 1u);
  EXPECT_EQ(padded(kTemplateWidthMax), size_t{kTemplateWidthMax});
  EXPECT_ERROR(padded(kTemplateWidthMax + 1), ErrorKind::kInvalidData, "at most 10000");
}

}  // namespace
}  // namespace fovea::processors
