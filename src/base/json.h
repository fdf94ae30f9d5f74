// JSON values with errors that name the key. `Json` is an immutable view that shares ownership of
// its document, cheap to copy, safe to read from any thread; `JsonObject` and `JsonArray` build.
// Boost.JSON stays behind json.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace fovea {

class Json {
 public:
  Json();  // null

  // Throws Error(kInvalidData) "[where] expected JSON but got ... at byte N". Depth is limited
  // to 64.
  static Json parse(std::string_view text, std::string_view where);

  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_number() const;
  bool is_integer() const;
  bool is_bool() const;

  // Member of an object; null when absent or when this is not an object. Chains: a["b"]["c"].
  Json operator[](std::string_view key) const;
  bool contains(std::string_view key) const;

  // Elements of an array, or keys of an object in document order; empty for anything else.
  size_t size() const;
  Json at(size_t index) const;
  std::vector<std::string> keys() const;

  // Typed reading. `as_*` throws Error(kInvalidData) "[where] expected an integer at 'a.b' but got
  // ..."; numbers that do not fit or are not finite are errors too.
  int64_t as_int() const;
  int as_int32() const;
  double as_double() const;
  float as_float() const;
  bool as_bool() const;
  std::string as_string() const;
  Json as_object() const;  // this value
  // The object at `key`, or null where there is none; another value is an error.
  Json optional_object(const std::string& key) const;
  Json as_list() const;  // this value
  std::vector<int> as_int_list() const;
  std::vector<float> as_float_list() const;

  // The member, or `fallback` when it is absent or null; a member of another type is an error.
  int get_int(std::string_view key, int fallback) const;
  double get_double(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  std::string get_string(std::string_view key, std::string_view fallback) const;

  std::string dump() const;  // compact; numbers as people write them
  const std::string& path() const { return path_; }
  const std::string& where() const { return *where_; }

 private:
  friend class JsonObject;
  friend class JsonArray;
  struct Document;
  Json(std::shared_ptr<const Document> document, const void* value, std::string path,
       std::shared_ptr<const std::string> where);
  [[noreturn]] void fail_type(std::string_view expected) const;

  std::shared_ptr<const Document> document_;
  const void* value_ = nullptr;  // boost::json::value inside document_
  std::string path_;             // "text_config.rope_scaling", for messages
  std::shared_ptr<const std::string> where_;
};

// Builders: values are copied in. Not for sharing between threads.
class JsonArray;
class JsonObject {
 public:
  JsonObject();
  JsonObject(const JsonObject& other);
  JsonObject(JsonObject&&) noexcept;
  JsonObject& operator=(JsonObject&&) noexcept;
  ~JsonObject();

  JsonObject& set(std::string_view key, std::string_view value);
  JsonObject& set(std::string_view key, const char* value) {
    return set(key, std::string_view(value));
  }
  JsonObject& set(std::string_view key, const std::string& value) {
    return set(key, std::string_view(value));
  }
  JsonObject& set(std::string_view key, bool value);
  JsonObject& set(std::string_view key, int value) { return set(key, static_cast<int64_t>(value)); }
  JsonObject& set(std::string_view key, int64_t value);
  JsonObject& set(std::string_view key, double value);
  JsonObject& set(std::string_view key, const JsonObject& value);
  JsonObject& set(std::string_view key, const JsonArray& value);
  JsonObject& set(std::string_view key, const Json& value);

  Json freeze(std::string_view where) const;
  std::string dump() const;

 private:
  friend class JsonArray;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class JsonArray {
 public:
  JsonArray();
  JsonArray(const JsonArray& other);
  JsonArray(JsonArray&&) noexcept;
  JsonArray& operator=(JsonArray&&) noexcept;
  ~JsonArray();

  JsonArray& push(std::string_view value);
  JsonArray& push(int64_t value);
  JsonArray& push(double value);
  JsonArray& push(const JsonObject& value);
  JsonArray& push(const Json& value);

  std::string dump() const;

 private:
  friend class JsonObject;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
