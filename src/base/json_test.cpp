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

TEST(Json, BuildersKeepOrderAndValues) {
  JsonArray list;
  list.push(int64_t{1}).push(0.5).push("two");
  JsonObject object;
  object.set("z", 1).set("a", "text").set("list", list).set("yes", true);
  EXPECT_EQ(object.dump(), R"({"z":1,"a":"text","list":[1,5E-1,"two"],"yes":true})");
  EXPECT_EQ(object.freeze("t")["list"].at(2).as_string(), "two");
  EXPECT_EQ(object.freeze("t").keys(), (std::vector<std::string>{"z", "a", "list", "yes"}));
}

}  // namespace
}  // namespace fovea
