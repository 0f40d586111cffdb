// Sorts the content of a completion into text and tool calls, piece by piece. One class for each
// family of markers; what they take for a call and what stays in the text is written in README.md.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/chat.h"

namespace inhouse::engine {

class ContentSplitter {
 public:
  virtual ~ContentSplitter() = default;
  virtual void Push(std::string_view text, CompletionDelta* out) = 0;
  virtual void Finish(CompletionDelta* out) = 0;
};

// DSML as V3.2, V4 and V4.1 spell it.
struct DsmlNames {
  std::string block;  // "tool_calls"
  std::string space;  // " " in V4.1, between the bar and the word
};

std::unique_ptr<ContentSplitter> NewPlainSplitter();
std::unique_ptr<ContentSplitter> NewFencedSplitter();  // V3, R1: ```json in special tokens
std::unique_ptr<ContentSplitter> NewBareSplitter();    // V3.1: bare JSON in special tokens
std::unique_ptr<ContentSplitter> NewDsmlSplitter(const DsmlNames& names);
std::unique_ptr<ContentSplitter> NewQwenSplitter();  // <tool_call> JSON </tool_call>

// The length of the longest end of `text` that is a beginning of `marker` (and not all of it).
size_t PartialMarker(std::string_view text, std::string_view marker);

bool IsJsonObject(std::string_view text);
bool IsJson(std::string_view text);

}  // namespace inhouse::engine
