#include "engine/formats/printable.h"

#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::engine {

std::string Printable(std::string_view text, size_t bytes_max) {
  std::string out;
  while (!text.empty()) {
    const base::Utf8Step step = base::DecodeUtf8(text);
    // C0, DEL and C1 controls: all of them can move a terminal's cursor.
    const bool control = step.valid && (step.code_point < 0x20 ||
                                        (step.code_point >= 0x7F && step.code_point < 0xA0));
    std::string piece;
    if (control) {
      piece = fmt::format("\\x{:02x}", static_cast<uint32_t>(step.code_point));
    } else {
      base::AppendUtf8(step.code_point, &piece);
    }
    if (out.size() + piece.size() > bytes_max) return out + "...";
    out += piece;
    text.remove_prefix(step.size);
  }
  return out;
}

}  // namespace inhouse::engine
