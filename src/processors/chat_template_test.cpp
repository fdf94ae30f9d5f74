#include "processors/chat_template.h"

#include <gtest/gtest.h>

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

TEST(ChatTemplate, AHostileOneIsAnError) {
  const char* deep =
      "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% for b in range(99) %}"
      "{% set n.x = [n.x] %}{% endfor %}{% endfor %}";
  EXPECT_ERROR(ChatTemplate(deep).render(context("{}")), ErrorKind::kInvalidData, "fuel");
}

}  // namespace
}  // namespace fovea::processors
