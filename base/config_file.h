// TOML files (keys, inhouse.toml) read field by field: whatever is wrong is named with its line,
// and a field that nobody asked for is an error.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::base {

template <typename T>
struct Range {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

// One table of a ConfigFile; a view, valid as long as the file. Every Read leaves `out` alone if
// the field is absent or wrong, and notes what is wrong in the file. An absent table reads as an
// empty one.
class ConfigTable {
 public:
  bool Read(std::string_view name, std::string* out) const;  // all: true if it was set
  bool Read(std::string_view name, bool* out) const;
  bool Read(std::string_view name, int64_t* out, Range<int64_t> range = {}) const;
  bool Read(std::string_view name, double* out, Range<double> range = {}) const;
  bool Read(std::string_view name, std::vector<std::string>* out) const;
  // An integer of any other width.
  template <typename T>
  bool ReadInt(std::string_view name, T* out, Range<int64_t> range) const {
    auto value = static_cast<int64_t>(*out);
    if (!Read(name, &value, range)) return false;
    *out = static_cast<T>(value);
    return true;
  }

  ConfigTable Table(std::string_view name) const;                // [name]
  std::vector<ConfigTable> Tables(std::string_view name) const;  // [[name]]

  // For checks of the caller: notes that the field's value is not what was expected.
  void Refuse(std::string_view name, std::string_view value, std::string_view expected) const;

 private:
  friend class ConfigFile;
  struct State;
  explicit ConfigTable(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class ConfigFile {
 public:
  // Errors of the syntax name the line.
  static absl::StatusOr<std::unique_ptr<ConfigFile>> Load(const std::string& path);
  static absl::StatusOr<std::unique_ptr<ConfigFile>> Parse(const std::string& path,
                                                           std::string_view text);
  ~ConfigFile();

  ConfigTable root() const;

  // What was wrong so far, in the order of lines, with the fields that no Read asked for.
  std::vector<absl::Status> Problems() const;
  // The first problem, and how many more there are.
  absl::Status status() const;

 private:
  friend class ConfigTable;
  struct Impl;
  explicit ConfigFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// `text` as a TOML basic string, quotes included.
std::string TomlString(std::string_view text);
std::string TomlStrings(const std::vector<std::string>& texts);  // ["a", "b"]

// The word of `known` that `word` is most likely meant to be, or "".
std::string_view DidYouMean(std::string_view word, const std::vector<std::string>& known);

}  // namespace inhouse::base
