#include "apps/inhouse/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

using Clock = std::chrono::steady_clock;

int TerminalColumns() {
  struct winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

int CodePointWidth(char32_t code_point) {
  return std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point)));
}

std::string Styled(std::string_view text, const char* code, std::FILE* stream) {
  if (!UseColor(stream)) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

// Three significant digits, then the unit.
std::string Scaled(double value, double step, const std::vector<const char*>& units) {
  size_t unit = 0;
  while (value >= step * 0.9995 && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.0f} {}", value, units[0]);
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, units[unit]);
}

// Eighth blocks give a smooth bar at small widths.
std::string Bar(double fraction, int width) {
  static constexpr const char* kEighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * width * 8);
  std::string bar;
  for (int i = 0; i < width; ++i) {
    const int here = eighths - i * 8;
    bar += here >= 8 ? "█" : kEighths[std::max(here, 0)];
  }
  return bar;
}

}  // namespace

bool IsTerminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

bool UseColor(std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term != nullptr && std::string_view(term) == "dumb";
  return IsTerminal(stream) && !dumb && (no_color == nullptr || *no_color == '\0');
}

std::string Bold(std::string_view text, std::FILE* stream) { return Styled(text, "1", stream); }
std::string Dim(std::string_view text, std::FILE* stream) { return Styled(text, "2", stream); }

int DisplayWidth(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const base::Utf8Step step = base::DecodeUtf8(text);
    width += CodePointWidth(step.code_point);
    text.remove_prefix(step.size);
  }
  return width;
}

std::string FitToWidth(std::string_view text, int columns) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  std::string out;
  int width = 0;
  while (!text.empty()) {
    const base::Utf8Step step = base::DecodeUtf8(text);
    width += CodePointWidth(step.code_point);
    if (width > columns - 1) break;
    out.append(text.substr(0, step.size));
    text.remove_prefix(step.size);
  }
  return columns > 0 ? out + "…" : out;
}

std::string FormatBytes(double bytes) {
  return Scaled(bytes, 1000, {"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string FormatBinaryBytes(double bytes) {
  return Scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

std::string FormatSeconds(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", std::max(seconds, 0.0));
  const auto whole = static_cast<int64_t>(std::min(seconds, 1e9) + 0.5);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

ProgressBar::ProgressBar(std::string label, Unit unit)
    : label_(std::move(label)), unit_(unit), terminal_(IsTerminal(stderr)) {}

ProgressBar::~ProgressBar() { Finish(); }

void ProgressBar::Set(uint64_t done, uint64_t total) {
  const Clock::time_point now = Clock::now();
  done_ = done;
  total_ = total;
  if (!started_) {
    started_ = true;
    start_ = now;
    first_done_ = done;
  }
  if (!terminal_) return;
  const bool complete = total > 0 && done >= total;
  if (drawn_ && !complete && now - last_draw_ < std::chrono::milliseconds(100)) return;
  Draw(now);
}

void ProgressBar::Draw(Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double moved = static_cast<double>(done_ - std::min(done_, first_done_));
  const double rate = seconds > 0.2 ? moved / seconds : 0;
  const auto amount = [this](double value) {
    return unit_ == Unit::kBytes ? FormatBytes(value) : fmt::format("{:.0f}", value);
  };
  std::string tail = " " + amount(static_cast<double>(done_));
  if (total_ > 0) tail += "/" + amount(static_cast<double>(total_));
  if (rate > 0) {
    tail += unit_ == Unit::kBytes ? fmt::format("  {}/s", FormatBytes(rate))
                                  : fmt::format("  {:.1f}/s", rate);
    if (total_ > done_) {
      tail += "  " + FormatSeconds(static_cast<double>(total_ - done_) / rate) + " left";
    }
  }
  const int columns = TerminalColumns() - 1;
  std::string line;
  if (total_ > 0) {
    const double fraction = static_cast<double>(done_) / static_cast<double>(total_);
    const std::string percent = fmt::format(" {:3.0f}%", std::clamp(fraction, 0.0, 1.0) * 100);
    const int fixed = DisplayWidth(percent) + DisplayWidth(tail) + 2;
    const int label_width = std::max(8, std::min(DisplayWidth(label_), columns - fixed - 10));
    const int bar_width = std::min(30, columns - fixed - label_width);
    line = FitToWidth(label_, label_width) + " ";
    if (bar_width >= 4) line += "▕" + Bar(fraction, bar_width - 1) + "▏";
    line += percent + tail;
  } else {
    line = label_ + tail;
  }
  std::fprintf(stderr, "\r\x1b[K%s", FitToWidth(line, columns).c_str());
  std::fflush(stderr);
  drawn_ = true;
  last_draw_ = now;
}

void ProgressBar::Print(const std::string& line) {
  if (drawn_) std::fprintf(stderr, "\r\x1b[K");
  std::fprintf(stderr, "%s\n", line.c_str());
  if (drawn_) Draw(Clock::now());
}

void ProgressBar::Finish() {
  if (drawn_) {
    std::fprintf(stderr, "\r\x1b[K");
    std::fflush(stderr);
  }
  drawn_ = false;
}

void Table::AddRow(std::vector<std::string> cells) {
  INHOUSE_CHECK(cells.size() == columns_.size(), "a table row has one cell for each column");
  rows_.push_back(std::move(cells));
}

void Table::Print(std::FILE* stream) const {
  std::vector<int> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int width = DisplayWidth(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[c]));
    widths.push_back(width);
  }
  const auto print_row = [&](const auto& cell_of, bool title) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string& cell = cell_of(c);
      const auto padding = static_cast<size_t>(widths[c] - DisplayWidth(cell));
      const bool right = columns_[c].align == Align::kRight;
      if (c > 0) line += "  ";
      if (right) line.append(padding, ' ');
      line += cell;
      if (!right && c + 1 < columns_.size()) line.append(padding, ' ');
    }
    std::fprintf(stream, "%s\n", title ? Bold(line, stream).c_str() : line.c_str());
  };
  print_row([this](size_t c) -> const std::string& { return columns_[c].title; }, true);
  for (const auto& row : rows_) {
    print_row([&row](size_t c) -> const std::string& { return row[c]; }, false);
  }
}

}  // namespace inhouse::apps
