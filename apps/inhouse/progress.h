// Terminal helpers that every verb shares: a progress bar, a table, sizes and times as people read
// them. Results belong on stdout, progress on stderr. No bar and no colour when the stream is not a
// terminal, or NO_COLOR is set (colour only).
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace inhouse::apps {

bool IsTerminal(std::FILE* stream);
bool UseColor(std::FILE* stream);

// ANSI styles: each returns the text unchanged when the stream takes no colour.
std::string Bold(std::string_view text, std::FILE* stream);
std::string Dim(std::string_view text, std::FILE* stream);

// Columns that the text fills on a terminal: 2 for wide (CJK, emoji), 0 for combining characters
// and control characters.
int DisplayWidth(std::string_view text);

// Cut to at most `columns` (with "…" at the end where something was cut).
std::string FitToWidth(std::string_view text, int columns);

// "1.43 GB" (decimal, as disks and hubs count), "512 B".
std::string FormatBytes(double bytes);

// "1.43 GiB", as memory is counted.
std::string FormatBinaryBytes(double bytes);

// "4.2 s", "3 min 20 s", "2 h 5 min".
std::string FormatSeconds(double seconds);

// One line on stderr that is redrawn in place: label, bar, per cent, done/total, rate, time left.
// Silent when stderr is not a terminal. One thread at a time; Set() draws at most ten times a
// second, so it may be called for each small step.
class ProgressBar {
 public:
  enum class Unit : uint8_t { kBytes, kCount };

  explicit ProgressBar(std::string label, Unit unit = Unit::kBytes);
  ~ProgressBar();  // Finish()
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `total` 0 = not known. `done` may start above 0 (a resumed download): the rate counts from
  // there.
  void Set(uint64_t done, uint64_t total);
  void SetLabel(std::string label) { label_ = std::move(label); }

  // Prints a whole line above the bar (also when stderr is not a terminal).
  void Print(const std::string& line);

  // Removes the bar from the screen.
  void Finish();

 private:
  void Draw(std::chrono::steady_clock::time_point now);

  std::string label_;
  const Unit unit_;
  const bool terminal_;
  bool drawn_ = false;
  bool started_ = false;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
  uint64_t first_done_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_;
};

// Columns aligned by display width.
class Table {
 public:
  enum class Align : uint8_t { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void AddRow(std::vector<std::string> cells);  // as many as columns
  void Print(std::FILE* stream) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace inhouse::apps
