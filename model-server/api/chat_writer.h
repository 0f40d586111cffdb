// How one chat answer goes onto the wire: OpenAI's chunks, Anthropic's messages, or OpenAI's
// responses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/answer.h"
#include "model-server/api/error.h"

namespace inhouse::model_server {

// Owned by the answer; knows what it has written so far. Used on the io thread only.
class ChatWriter {
 public:
  virtual ~ChatWriter() = default;

  // A stream: the events before the first piece ("" = none), pieces in their order, and what comes
  // after the last.
  virtual std::string Start(int64_t prompt_tokens) = 0;
  virtual std::string Piece(const ChatPiece& piece) = 0;
  virtual std::string End(const AnswerUsage& usage) = 0;
  // Instead of End.
  virtual std::string Error(const ApiError& error) = 0;

  // An answer that is not streamed.
  virtual std::string Whole(const std::vector<ChatChoice>& choices, const AnswerUsage& usage) = 0;

  // Of the ids of calls to which the model gave none.
  virtual std::string_view call_id_prefix() const { return "call_"; }
};

// POST /v1/chat/completions.
std::unique_ptr<ChatWriter> NewCompletionsWriter(AnswerHead head, bool include_usage);

// "event: {type}\ndata: {data}\n\n"
std::string NamedEvent(std::string_view type, std::string_view data);

}  // namespace inhouse::model_server
