#include "base/json.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace fovea {
namespace {

TEST(Json, ReadsTypedMembersAndFallbacks) {
  const Json json = Json::parse(R"({"a": 3, "b": 1.5, "c": "x", "d": [1, 2], "e": null})", "t");
  EXPECT_EQ(json.get_int("a", 0), 3);
  EXPECT_EQ(json.get_double("b", 0), 1.5);
  EXPECT_EQ(json.get_double("a", 0), 3.0);
  EXPECT_EQ(json.get_string("c", ""), "x");
  EXPECT_EQ(json["d"].as_int_list(), (std::vector<int>{1, 2}));
  EXPECT_EQ(json.get_int("e", 7), 7);
  EXPECT_EQ(json.get_int("missing", 8), 8);
  EXPECT_TRUE(json["missing"]["deeper"].is_null());
}

TEST(Json, WholeNumbersMayBeWrittenAsFractions) {
  EXPECT_EQ(Json::parse("1000000.0", "t").as_int(), 1000000);
  EXPECT_ERROR(Json::parse("1.5", "t").as_int(), ErrorKind::kInvalidData, "an integer");
}

TEST(Json, ErrorsNameTheKeyAndWhatWasFound) {
  const Json json = Json::parse(R"({"text_config": {"hidden_size": "big"}})", "config.json");
  EXPECT_ERROR(json["text_config"].get_int("hidden_size", 1), ErrorKind::kInvalidData,
               "[config.json] expected an integer at 'text_config.hidden_size' but got \"big\"");
  EXPECT_ERROR(json["absent"].as_string(), ErrorKind::kInvalidData,
               "expected a string at 'absent' but got nothing");
}

TEST(Json, RefusesWhatIsNotJson) {
  EXPECT_ERROR(Json::parse("{\"a\": }", "f"), ErrorKind::kInvalidData, "[f] expected JSON");
  EXPECT_ERROR(Json::parse("", "f"), ErrorKind::kInvalidData, "[f] expected JSON");
  EXPECT_ERROR(Json::parse("1 2", "f"), ErrorKind::kInvalidData, "[f] expected JSON");
  EXPECT_ERROR(Json::parse(std::string(100, '[') + std::string(100, ']'), "f"),
               ErrorKind::kInvalidData, "[f] expected JSON");
}

TEST(Json, NumbersBeyondTheirTypeAreErrors) {
  EXPECT_ERROR(Json::parse("3000000000", "t").as_int32(), ErrorKind::kInvalidData, "32-bit");
  EXPECT_ERROR(Json::parse("18446744073709551615", "t").as_int(), ErrorKind::kInvalidData,
               "an integer");
}

TEST(Json, NumbersThatAreNotFiniteAreErrors) {
  EXPECT_ERROR(Json::parse("1e999", "t").as_double(), ErrorKind::kInvalidData, "[t] expected");
  EXPECT_ERROR(Json::parse("1e300", "t").as_float(), ErrorKind::kInvalidData, "a 32-bit number");
  EXPECT_ERROR(Json::parse("[1, 1e300]", "t").as_float_list(), ErrorKind::kInvalidData, "'[1]'");
  EXPECT_EQ(Json::parse("0.5", "t").as_float(), 0.5f);
}

TEST(Json, NumbersAreWrittenAsPeopleWriteThem) {
  const std::string text = R"({"a":25.012497,"b":[0.5,-3.0,1e+30,12345678901234567],"c":{}})";
  EXPECT_EQ(Json::parse(text, "t").dump(), text);
}

TEST(Json, QuotedTextIsCutBetweenCharacters) {
  std::string text = "\"";
  for (int i = 0; i < 40; ++i) text += "\u00e9";
  try {
    Json::parse(text + "\"", "t").as_int();
    ADD_FAILURE() << "expected an error";
  } catch (const Error& error) {
    std::string quoted = "\"";
    for (int i = 0; i < 28; ++i) quoted += "\u00e9";
    EXPECT_EQ(error.what(), "[t] expected an integer but got " + quoted + "...");
  }
}

TEST(Json, ListsAndObjectsAreAskedForByName) {
  const Json json = Json::parse(R"({"a": []})", "t");
  EXPECT_EQ(json["a"].as_list().size(), 0u);
  EXPECT_ERROR(json["a"].as_object(), ErrorKind::kInvalidData,
               "[t] expected an object at 'a' but got a list");
  EXPECT_ERROR(Json::parse("[]", "t").as_object(), ErrorKind::kInvalidData,
               "[t] expected an object but got a list");
}

TEST(Json, BuildersKeepOrderAndValues) {
  JsonArray list;
  list.push(int64_t{1}).push("two");
  JsonObject object;
  object.set("z", 1).set("a", "text").set("list", list).set("yes", true);
  EXPECT_EQ(object.dump(), R"({"z":1,"a":"text","list":[1,"two"],"yes":true})");
  EXPECT_EQ(object.freeze("t")["list"].at(1).as_string(), "two");
  EXPECT_EQ(object.freeze("t").keys(), (std::vector<std::string>{"z", "a", "list", "yes"}));
}

}  // namespace
}  // namespace fovea
