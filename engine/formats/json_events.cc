#include "engine/formats/json_events.h"

#include <cstddef>
#include <iterator>

#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Walks over characters and leaves its position where the reader can see it: nlohmann reports
// offsets of syntax errors only, but most errors are in what a well-formed header says.
class TracedChars {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TracedChars(const char* place, const char** trace) : place_(place), trace_(trace) {}
  reference operator*() const { return *place_; }
  TracedChars& operator++() {
    *trace_ = ++place_;
    return *this;
  }
  TracedChars operator++(int) {
    TracedChars old = *this;
    ++*this;
    return old;
  }
  friend bool operator==(const TracedChars& a, const TracedChars& b) {
    return a.place_ == b.place_;
  }
  friend bool operator!=(const TracedChars& a, const TracedChars& b) { return !(a == b); }

 private:
  const char* place_;
  const char** trace_;
};

}  // namespace

absl::Status JsonEvents::Parse(std::string_view text, uint64_t file_offset) {
  file_offset_ = file_offset;
  begin_ = position_ = text.data();
  status_ = absl::OkStatus();
  depth_ = 0;
  // nlohmann takes a NUL for the end of the text and would not look at what follows it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    position_ += nul;
    Fail({.expected = "JSON text, found a NUL byte"});
    return status_;
  }
  const bool done = nlohmann::json::sax_parse(
      TracedChars(text.data(), &position_), TracedChars(text.data() + text.size(), &position_),
      static_cast<nlohmann::json_sax<nlohmann::json>*>(this));
  if (!done && status_.ok()) Fail({.expected = "valid JSON"});
  return status_;
}

uint64_t JsonEvents::offset() const {
  return file_offset_ + static_cast<uint64_t>(position_ - begin_);
}

bool JsonEvents::Fail(base::BadInput bad) {
  bad.file = file_;
  const std::string place = fmt::format("offset {}", offset());
  bad.field = bad.field.empty() ? place : fmt::format("{}: {}", place, bad.field);
  status_ = base::InvalidInput(bad);
  return false;
}

bool JsonEvents::parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: what": keep the end.
  std::string_view what = error.what();
  if (const size_t found = what.find("] "); found != std::string_view::npos) {
    what.remove_prefix(found + 2);
  }
  return Fail({.expected = fmt::format("valid JSON ({})", Printable(what, 160))});
}

bool JsonEvents::Open(bool is_object) {
  if (depth_ >= depth_max_) {
    return Fail({.expected = fmt::format("at most {} nested arrays and objects", depth_max_)});
  }
  ++depth_;
  return OnOpen(is_object);
}

bool JsonEvents::Close() {
  --depth_;
  return OnClose();
}

std::string_view JsonTypeName(const nlohmann::json& value) {
  switch (value.type()) {
    case nlohmann::json::value_t::null:
      return "null";
    case nlohmann::json::value_t::object:
      return "an object";
    case nlohmann::json::value_t::array:
      return "a list";
    case nlohmann::json::value_t::string:
      return "a string";
    case nlohmann::json::value_t::boolean:
      return "a boolean";
    case nlohmann::json::value_t::number_integer:
    case nlohmann::json::value_t::number_unsigned:
    case nlohmann::json::value_t::number_float:
      return "a number";
    case nlohmann::json::value_t::binary:
    case nlohmann::json::value_t::discarded:
      break;
  }
  return "nothing";
}

std::string JsonText(const nlohmann::json& value) {
  if (value.is_object()) return fmt::format("an object of {} fields", value.size());
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (const auto* text = value.get_ptr<const std::string*>()) return Printable(*text);
  return value.dump();
}

}  // namespace inhouse::engine
