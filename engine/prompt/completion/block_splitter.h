// The families whose calls stand in one block: text, opener, calls, closer, text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/prompt/completion/splitter.h"

namespace inhouse::engine {

class BlockSplitter : public ContentSplitter {
 public:
  void Push(std::string_view text, CompletionDelta* out) override;
  void Finish(CompletionDelta* out) override;

 protected:
  BlockSplitter(std::string opener, std::string closer, bool space_between)
      : opener_(std::move(opener)), closer_(std::move(closer)), space_between_(space_between) {}

  enum class Verdict { kCall, kNoCall, kNeedMore };
  struct Trial {
    Verdict verdict;
    ToolCall call = {};
    size_t size = 0;  // bytes of the call
    // With kNeedMore: nothing can change before this text has come (empty: any text can).
    std::string wait_for = {};
  };
  // Whether `text` begins with a call. The verdict must be final: whatever follows, it stays.
  virtual Trial TryCall(std::string_view text) const = 0;
  // Whether a call may follow the one before it directly. DSML asks for a newline.
  virtual bool NeedsNewline() const { return false; }

 private:
  enum class State { kText, kBlock, kRest };
  void RunText(CompletionDelta* out);
  // Returns whether to go on.
  bool RunBlock(CompletionDelta* out);
  void GiveUp(CompletionDelta* out);

  const std::string opener_, closer_;
  const bool space_between_;
  State state_ = State::kText;
  std::string buffer_;
  bool any_call_ = false;
  std::string wait_for_;
  size_t wait_from_ = 0;  // where in buffer_ wait_for_ may begin
};

}  // namespace inhouse::engine
