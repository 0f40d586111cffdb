// JSON read as a stream of events, with limits and with the offset of each event: what the readers
// of this room build on. Memory is what the derived reader keeps, plus one token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

// A reader overrides the five On...() functions; each returns false, after Fail(), to stop. One
// thread; one document per object.
class JsonEvents : private nlohmann::json_sax<nlohmann::json> {
 public:
  // `file` is what messages name. Documents nested deeper than `depth_max` are refused.
  JsonEvents(std::string file, int depth_max) : file_(std::move(file)), depth_max_(depth_max) {}

  // Reads one whole document: nothing but white space may follow it. `file_offset` is where `text`
  // starts in the file, for messages. InvalidArgument if it is not JSON or the reader said Fail().
  absl::Status Parse(std::string_view text, uint64_t file_offset = 0);

 protected:
  virtual bool OnOpen(bool is_object) = 0;
  virtual bool OnClose() = 0;
  virtual bool OnKey(std::string key) = 0;
  virtual bool OnScalar(nlohmann::json value) = 0;  // null, bool, number or string

  // Reports InvalidInput at the current offset; file and offset are filled in here. Returns false.
  bool Fail(base::BadInput bad);

  const std::string& file() const { return file_; }
  int depth() const { return depth_; }  // of open arrays and objects
  uint64_t offset() const;              // in the file, just behind the token last read

 private:
  bool null() override { return OnScalar(nullptr); }
  bool boolean(bool value) override { return OnScalar(value); }
  bool number_integer(number_integer_t value) override { return OnScalar(value); }
  bool number_unsigned(number_unsigned_t value) override { return OnScalar(value); }
  bool number_float(number_float_t value, const string_t&) override { return OnScalar(value); }
  bool string(string_t& value) override { return OnScalar(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // does not happen in JSON text
  bool key(string_t& value) override { return OnKey(std::move(value)); }
  bool start_object(size_t) override { return Open(true); }
  bool start_array(size_t) override { return Open(false); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override;
  bool Open(bool is_object);
  bool Close();

  std::string file_;
  int depth_max_;
  int depth_ = 0;
  uint64_t file_offset_ = 0;
  const char* begin_ = nullptr;
  const char* position_ = nullptr;  // moved by the lexer
  absl::Status status_;
};

// "a string", "an object", ... for messages.
std::string_view JsonTypeName(const nlohmann::json& value);
// The value as a message shows it: scalars as they are (cut), containers by their size.
std::string JsonText(const nlohmann::json& value);

}  // namespace inhouse::engine
