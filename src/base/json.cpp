#include "base/json.h"

#include <boost/json/src.hpp>
#include <cmath>
#include <limits>

namespace fovea {

namespace bj = boost::json;

struct Json::Document {
  bj::value root;
};

namespace {

const bj::value& null_value() {
  static const bj::value value;
  return value;
}

const bj::value& as_value(const void* pointer) {
  return pointer ? *static_cast<const bj::value*>(pointer) : null_value();
}

// Boost writes 25.5 as 2.55E1; people read these numbers. A fraction stays one when it is read
// again, and what JSON cannot write is null.
std::string text_of(double number) {
  if (!std::isfinite(number)) return "null";
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void write(const bj::value& value, std::string& out);

void write(const bj::object& object, std::string& out) {
  out += '{';
  for (const auto& member : object) {
    if (out.back() != '{') out += ',';
    out += bj::serialize(bj::string(member.key()));
    out += ':';
    write(member.value(), out);
  }
  out += '}';
}

void write(const bj::array& array, std::string& out) {
  out += '[';
  for (const auto& element : array) {
    if (&element != array.data()) out += ',';
    write(element, out);
  }
  out += ']';
}

void write(const bj::value& value, std::string& out) {
  switch (value.kind()) {
    case bj::kind::object:
      return write(value.get_object(), out);
    case bj::kind::array:
      return write(value.get_array(), out);
    case bj::kind::double_:
      out += text_of(value.get_double());
      return;
    default:
      out += bj::serialize(value);
  }
}

template <class T>
std::string text_of(const T& value) {
  std::string out;
  write(value, out);
  return out;
}

// At most `bytes_max` bytes, cut between characters.
std::string shortened(std::string text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string describe(const bj::value& value) {
  switch (value.kind()) {
    case bj::kind::null:
      return "nothing";
    case bj::kind::object:
      return "an object";
    case bj::kind::array:
      return "a list";
    default:
      return shortened(text_of(value), 60);
  }
}

}  // namespace

Json::Json() : where_(std::make_shared<std::string>("json")) {}

Json::Json(std::shared_ptr<const Document> document, const void* value, std::string path,
           std::shared_ptr<const std::string> where)
    : document_(std::move(document)),
      value_(value),
      path_(std::move(path)),
      where_(std::move(where)) {}

Json Json::parse(std::string_view text, std::string_view where) {
  bj::parse_options options;
  options.max_depth = 64;
  bj::stream_parser parser({}, options);
  bj::error_code error;
  const size_t read = parser.write_some(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  if (!error && text.find_first_not_of(" \t\r\n", read) != std::string_view::npos) {
    error = bj::make_error_code(bj::error::extra_data);
  }
  if (error) {
    fail(ErrorKind::kInvalidData, "[{}] expected JSON but got {} at byte {}", where,
         error.message(), read);
  }
  auto document = std::make_shared<Document>(Document{parser.release()});
  const void* root = &document->root;
  return Json(std::move(document), root, "", std::make_shared<std::string>(where));
}

void Json::fail_type(std::string_view expected) const {
  const std::string at = path_.empty() ? "" : fmt::format(" at '{}'", path_);
  fail(ErrorKind::kInvalidData, "[{}] expected {}{} but got {}", *where_, expected, at,
       describe(as_value(value_)));
}

bool Json::is_null() const { return as_value(value_).is_null(); }
bool Json::is_object() const { return as_value(value_).is_object(); }
bool Json::is_array() const { return as_value(value_).is_array(); }
bool Json::is_string() const { return as_value(value_).is_string(); }
bool Json::is_number() const { return as_value(value_).is_number(); }
bool Json::is_bool() const { return as_value(value_).is_bool(); }
bool Json::is_integer() const {
  return as_value(value_).is_int64() || as_value(value_).is_uint64();
}

Json Json::operator[](std::string_view key) const {
  const auto& value = as_value(value_);
  std::string path = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  const bj::value* member = value.is_object() ? value.get_object().if_contains(key) : nullptr;
  return Json(document_, member, std::move(path), where_);
}

bool Json::contains(std::string_view key) const {
  const auto& value = as_value(value_);
  return value.is_object() && value.get_object().contains(key);
}

size_t Json::size() const {
  const auto& value = as_value(value_);
  if (value.is_array()) return value.get_array().size();
  return value.is_object() ? value.get_object().size() : 0;
}

Json Json::at(size_t index) const {
  const auto& value = as_value(value_);
  if (!value.is_array() || index >= value.get_array().size()) {
    fail(ErrorKind::kInvalidData, "[{}] expected an element {} at '{}' but got {}", *where_, index,
         path_, describe(value));
  }
  return Json(document_, &value.get_array()[index], fmt::format("{}[{}]", path_, index), where_);
}

std::vector<std::string> Json::keys() const {
  std::vector<std::string> names;
  const auto& value = as_value(value_);
  if (!value.is_object()) return names;
  for (const auto& member : value.get_object()) names.emplace_back(member.key());
  return names;
}

int64_t Json::as_int() const {
  const auto& value = as_value(value_);
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) {
    // Some configs write whole numbers as 1.0.
    const double number = value.get_double();
    if (std::abs(number) < 9e15 && number == std::floor(number))
      return static_cast<int64_t>(number);
  }
  fail_type("an integer");
}

int Json::as_int32() const {
  const int64_t number = as_int();
  if (number < std::numeric_limits<int>::min() || number > std::numeric_limits<int>::max()) {
    fail_type("a 32-bit integer");
  }
  return static_cast<int>(number);
}

double Json::as_double() const {
  const auto& value = as_value(value_);
  if (!value.is_number()) fail_type("a number");
  const auto number = value.to_number<double>();
  if (!std::isfinite(number)) fail_type("a finite number");
  return number;
}

float Json::as_float() const {
  const auto number = static_cast<float>(as_double());
  if (!std::isfinite(number)) fail_type("a 32-bit number");
  return number;
}

Json Json::as_object() const {
  if (!is_object()) fail_type("an object");
  return *this;
}

Json Json::optional_object(const std::string& key) const {
  const Json member = (*this)[key];
  return member.is_null() ? member : member.as_object();
}

Json Json::as_list() const {
  if (!is_array()) fail_type("a list");
  return *this;
}

bool Json::as_bool() const {
  if (!is_bool()) fail_type("true or false");
  return as_value(value_).get_bool();
}

std::string Json::as_string() const {
  if (!is_string()) fail_type("a string");
  const auto& text = as_value(value_).get_string();
  return std::string(text.data(), text.size());
}

std::vector<int> Json::as_int_list() const {
  if (!is_array()) fail_type("a list of integers");
  std::vector<int> list;
  for (size_t i = 0; i < size(); ++i) list.push_back(at(i).as_int32());
  return list;
}

std::vector<float> Json::as_float_list() const {
  if (!is_array()) fail_type("a list of numbers");
  std::vector<float> list;
  for (size_t i = 0; i < size(); ++i) list.push_back(at(i).as_float());
  return list;
}

int Json::get_int(std::string_view key, int fallback) const {
  const Json member = (*this)[key];
  return member.is_null() ? fallback : member.as_int32();
}

double Json::get_double(std::string_view key, double fallback) const {
  const Json member = (*this)[key];
  return member.is_null() ? fallback : member.as_double();
}

bool Json::get_bool(std::string_view key, bool fallback) const {
  const Json member = (*this)[key];
  return member.is_null() ? fallback : member.as_bool();
}

std::string Json::get_string(std::string_view key, std::string_view fallback) const {
  const Json member = (*this)[key];
  return member.is_null() ? std::string(fallback) : member.as_string();
}

std::string Json::dump() const { return text_of(as_value(value_)); }

struct JsonObject::Impl {
  bj::object object;
};

struct JsonArray::Impl {
  bj::array array;
};

JsonObject::JsonObject() : impl_(std::make_unique<Impl>()) {}
JsonObject::JsonObject(const JsonObject& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
JsonObject::JsonObject(JsonObject&&) noexcept = default;
JsonObject& JsonObject::operator=(JsonObject&&) noexcept = default;
JsonObject::~JsonObject() = default;

JsonObject& JsonObject::set(std::string_view key, std::string_view value) {
  impl_->object[key] = bj::string(value.data(), value.size());
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, bool value) {
  impl_->object[key] = value;
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, int64_t value) {
  impl_->object[key] = value;
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, double value) {
  impl_->object[key] = value;
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, const JsonObject& value) {
  impl_->object[key] = value.impl_->object;
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, const JsonArray& value) {
  impl_->object[key] = value.impl_->array;
  return *this;
}
JsonObject& JsonObject::set(std::string_view key, const Json& value) {
  impl_->object[key] = as_value(value.value_);
  return *this;
}

Json JsonObject::freeze(std::string_view where) const {
  auto document = std::make_shared<Json::Document>(Json::Document{impl_->object});
  const void* root = &document->root;
  return Json(std::move(document), root, "", std::make_shared<std::string>(where));
}

std::string JsonObject::dump() const { return text_of(impl_->object); }

JsonArray::JsonArray() : impl_(std::make_unique<Impl>()) {}
JsonArray::JsonArray(const JsonArray& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
JsonArray::JsonArray(JsonArray&&) noexcept = default;
JsonArray& JsonArray::operator=(JsonArray&&) noexcept = default;
JsonArray::~JsonArray() = default;

JsonArray& JsonArray::push(std::string_view value) {
  impl_->array.emplace_back(bj::string(value.data(), value.size()));
  return *this;
}
JsonArray& JsonArray::push(int64_t value) {
  impl_->array.emplace_back(value);
  return *this;
}
JsonArray& JsonArray::push(double value) {
  impl_->array.emplace_back(value);
  return *this;
}
JsonArray& JsonArray::push(const JsonObject& value) {
  impl_->array.emplace_back(value.impl_->object);
  return *this;
}
JsonArray& JsonArray::push(const Json& value) {
  impl_->array.emplace_back(as_value(value.value_));
  return *this;
}

std::string JsonArray::dump() const { return text_of(impl_->array); }

}  // namespace fovea
