// Tokens of the DeepSeek formats.
#pragma once

#include <string>

#include "engine/prompt/native/conversation.h"

namespace inhouse::engine {

inline const std::string kBos = "<｜begin▁of▁sentence｜>";
inline const std::string kEos = "<｜end▁of▁sentence｜>";
inline const std::string kUser = "<｜User｜>";
inline const std::string kAssistant = "<｜Assistant｜>";
inline const std::string kCallsBegin = "<｜tool▁calls▁begin｜>";
inline const std::string kCallsEnd = "<｜tool▁calls▁end｜>";
inline const std::string kCallBegin = "<｜tool▁call▁begin｜>";
inline const std::string kCallEnd = "<｜tool▁call▁end｜>";
inline const std::string kCallSeparator = "<｜tool▁sep｜>";
inline const std::string kOutputsBegin = "<｜tool▁outputs▁begin｜>";
inline const std::string kOutputsEnd = "<｜tool▁outputs▁end｜>";
inline const std::string kOutputBegin = "<｜tool▁output▁begin｜>";
inline const std::string kOutputEnd = "<｜tool▁output▁end｜>";

inline bool IsSystem(const NativeMessage& m) { return m.role == "system"; }

}  // namespace inhouse::engine
