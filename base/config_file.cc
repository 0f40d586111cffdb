#include "base/config_file.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "toml++/toml.h"

namespace inhouse::base {
namespace {

constexpr uint64_t kBytesMax = 16 << 20;
constexpr size_t kDistanceMax = 3;  // of a word that is still taken for a slip

struct Problem {
  uint32_t line = 0;
  absl::Status status = {};
};

}  // namespace

// What all tables of a file share.
struct ConfigFile::Impl {
  std::string path;
  toml::table root;
  mutable std::vector<Problem> problems = {};
  // Every table that was read, once.
  std::map<const toml::table*, std::shared_ptr<ConfigTable::State>> tables = {};

  void Note(uint32_t line, std::string field, std::string value, std::string expected,
            std::string hint = {}) const {
    problems.push_back({line, InvalidInput({.file = fmt::format("{}:{}", path, line),
                                            .field = std::move(field),
                                            .value = std::move(value),
                                            .expected = std::move(expected),
                                            .hint = std::move(hint)})});
  }
};

struct ConfigTable::State {
  ConfigFile::Impl* file = nullptr;
  const toml::table* table = nullptr;  // null: absent
  std::string prefix = {};             // "server."
  std::set<std::string, std::less<>> known = {};

  const toml::node* Find(std::string_view name) {
    known.emplace(name);
    return table == nullptr ? nullptr : table->get(name);
  }
  std::string FieldName(std::string_view name) const { return prefix + std::string(name); }
  void Refuse(const toml::node& node, std::string_view name, std::string expected) const {
    std::ostringstream text;
    if (!node.is_table() && !node.is_array_of_tables()) {
      node.visit([&text](const auto& value) { text << value; });
    }
    file->Note(node.source().begin.line, FieldName(name), text.str(), std::move(expected));
  }
};

bool ConfigTable::Read(std::string_view name, std::string* out) const {
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return false;
  if (!node->is_string()) return state_->Refuse(*node, name, "a string in quotes"), false;
  *out = node->as_string()->get();
  return true;
}

bool ConfigTable::Read(std::string_view name, bool* out) const {
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return false;
  if (!node->is_boolean()) return state_->Refuse(*node, name, "true or false"), false;
  *out = node->as_boolean()->get();
  return true;
}

bool ConfigTable::Read(std::string_view name, int64_t* out, Range<int64_t> range) const {
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return false;
  if (node->is_integer()) {
    const int64_t value = node->as_integer()->get();
    if (value >= range.min && value <= range.max) return *out = value, true;
  }
  constexpr Range<int64_t> kAny;
  const bool open = range.max == kAny.max;
  state_->Refuse(*node, name,
                 open ? fmt::format("an integer from {} on", range.min)
                      : fmt::format("an integer from {} to {}", range.min, range.max));
  return false;
}

bool ConfigTable::Read(std::string_view name, double* out, Range<double> range) const {
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return false;
  if (const auto value = node->is_number() ? node->value<double>() : std::nullopt;
      value && *value >= range.min && *value <= range.max) {
    return *out = *value, true;
  }
  state_->Refuse(*node, name, fmt::format("a number from {} to {}", range.min, range.max));
  return false;
}

bool ConfigTable::Read(std::string_view name, std::vector<std::string>* out) const {
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return false;
  std::vector<std::string> values;
  const toml::array* array = node->as_array();
  bool good = array != nullptr;
  for (size_t i = 0; good && i < array->size(); ++i) {
    good = (*array)[i].is_string();
    if (good) values.push_back((*array)[i].as_string()->get());
  }
  if (!good) return state_->Refuse(*node, name, "a list of strings, as [\"a\", \"b\"]"), false;
  *out = std::move(values);
  return true;
}

ConfigTable ConfigTable::Table(std::string_view name) const {
  const toml::node* node = state_->Find(name);
  ConfigFile::Impl* file = state_->file;
  const std::string prefix = state_->prefix + std::string(name) + ".";
  const toml::table* table = node == nullptr ? nullptr : node->as_table();
  if (node != nullptr && table == nullptr) {
    state_->Refuse(*node, name, fmt::format("a table, as [{}]", name));
  }
  if (table == nullptr) {
    return ConfigTable(std::make_shared<State>(State{.file = file, .prefix = prefix}));
  }
  auto& state = file->tables[table];
  if (state == nullptr) {
    state = std::make_shared<State>(State{.file = file, .table = table, .prefix = prefix});
  }
  return ConfigTable(state);
}

std::vector<ConfigTable> ConfigTable::Tables(std::string_view name) const {
  std::vector<ConfigTable> out;
  const toml::node* node = state_->Find(name);
  if (node == nullptr) return out;
  const toml::array* array = node->as_array();
  if (array == nullptr || (!array->empty() && !array->is_array_of_tables())) {
    state_->Refuse(*node, name, fmt::format("tables, each below a line [[{}]]", name));
    return out;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const toml::table* table = (*array)[i].as_table();
    auto& state = state_->file->tables[table];
    if (state == nullptr) {
      state = std::make_shared<State>(
          State{.file = state_->file,
                .table = table,
                .prefix = fmt::format("{}{}[{}].", state_->prefix, name, i)});
    }
    out.push_back(ConfigTable(state));
  }
  return out;
}

void ConfigTable::Refuse(std::string_view name, std::string_view value,
                         std::string_view expected) const {
  const toml::node* node = state_->Find(name);
  uint32_t line = 0;
  if (node != nullptr) {
    line = node->source().begin.line;
  } else if (state_->table != nullptr) {
    line = state_->table->source().begin.line;
  }
  state_->file->Note(line, state_->FieldName(name), std::string(value), std::string(expected));
}

ConfigFile::ConfigFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConfigFile::~ConfigFile() = default;

absl::StatusOr<std::unique_ptr<ConfigFile>> ConfigFile::Load(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kBytesMax));
  return Parse(path, text);
}

absl::StatusOr<std::unique_ptr<ConfigFile>> ConfigFile::Parse(const std::string& path,
                                                              std::string_view text) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  try {
    impl->root = toml::parse(text, std::string_view(path));
  } catch (const toml::parse_error& error) {
    return InvalidInput({.file = fmt::format("{}:{}", path, error.source().begin.line),
                         .expected = fmt::format("valid TOML ({})", error.description())});
  }
  auto root = std::make_shared<ConfigTable::State>(
      ConfigTable::State{.file = impl.get(), .table = &impl->root});
  impl->tables[&impl->root] = std::move(root);
  return std::unique_ptr<ConfigFile>(new ConfigFile(std::move(impl)));
}

ConfigTable ConfigFile::root() const { return ConfigTable(impl_->tables.at(&impl_->root)); }

std::vector<absl::Status> ConfigFile::Problems() const {
  std::vector<Problem> all = impl_->problems;
  impl_->problems.clear();
  for (const auto& [table, state] : impl_->tables) {
    const std::vector<std::string> known(state->known.begin(), state->known.end());
    for (const auto& [key, node] : *table) {
      if (state->known.contains(key.str())) continue;
      const std::string_view meant = DidYouMean(key.str(), known);
      impl_->Note(key.source().begin.line, state->FieldName(key.str()), "",
                  meant.empty() ? "a field that exists (this one does not)"
                                : fmt::format("a field that exists; did you mean '{}'?", meant));
    }
  }
  all.insert(all.end(), impl_->problems.begin(), impl_->problems.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  impl_->problems = all;
  // Asked twice, what was found the first time must not be found again.
  for (const auto& [table, state] : impl_->tables) {
    for (const auto& [key, node] : *table) state->known.emplace(key.str());
  }
  std::vector<absl::Status> out;
  for (const Problem& problem : all) out.push_back(problem.status);
  return out;
}

absl::Status ConfigFile::status() const {
  const std::vector<absl::Status> all = Problems();
  if (all.empty()) return absl::OkStatus();
  if (all.size() == 1) return all.front();
  absl::Status first(all.front().code(), fmt::format("{} ({} more problems in this file)",
                                                     Message(all.front()), all.size() - 1));
  all.front().ForEachPayload([&first](absl::string_view url, const absl::Cord& payload) {
    first.SetPayload(url, payload);
  });
  return first;
}

std::string TomlString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string TomlStrings(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ", ";
    out += TomlString(text);
  }
  return out + "]";
}

std::string_view DidYouMean(std::string_view word, const std::vector<std::string>& known) {
  std::string_view best;
  size_t best_distance = std::min(kDistanceMax, word.size() / 2) + 1;
  for (const std::string& candidate : known) {
    // Levenshtein, a row at a time.
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t changed = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace inhouse::base
