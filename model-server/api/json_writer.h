// Writes JSON straight into a string: a streamed chunk is built for every token, so it takes no
// tree of values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace inhouse::model_server {

// Appends `text` in quotes. Text that is valid UTF-8 gives valid JSON; bytes above 0x7f are copied.
void AppendJsonString(std::string_view text, std::string* out);

// Commas and colons are its business; that Begin and End match is the caller's.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  JsonWriter& String(std::string_view text);
  JsonWriter& Int(int64_t value);
  JsonWriter& Float(float value);  // shortest text that reads back equal; not a number is null
  JsonWriter& Bool(bool value);
  JsonWriter& Null();
  JsonWriter& Raw(std::string_view json);  // a value that is already JSON

  std::string Take() { return std::move(out_); }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();

  std::string out_;
  bool needs_comma_ = false;
};

}  // namespace inhouse::model_server
