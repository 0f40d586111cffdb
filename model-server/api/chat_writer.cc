#include "model-server/api/chat_writer.h"

#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

class CompletionsWriter final : public ChatWriter {
 public:
  CompletionsWriter(AnswerHead head, bool include_usage)
      : head_(std::move(head)), include_usage_(include_usage) {}

  std::string Start(int64_t) override { return ""; }
  std::string Piece(const ChatPiece& piece) override {
    return ChatChunk(head_, piece, include_usage_);
  }
  std::string End(const AnswerUsage& usage) override {
    std::string last;
    if (include_usage_) last = UsageChunk(head_, kChatChunkObject, usage);
    return last + "data: [DONE]\n\n";
  }
  // The official SDKs raise an error for a data object with this key.
  std::string Error(const ApiError& error) override { return SseEvent(ErrorJson(error)); }
  std::string Whole(const std::vector<ChatChoice>& choices, const AnswerUsage& usage) override {
    return ChatAnswer(head_, choices, usage);
  }

 private:
  const AnswerHead head_;
  const bool include_usage_;
};

}  // namespace

std::unique_ptr<ChatWriter> NewCompletionsWriter(AnswerHead head, bool include_usage) {
  return std::make_unique<CompletionsWriter>(std::move(head), include_usage);
}

std::string NamedEvent(std::string_view type, std::string_view data) {
  return fmt::format("event: {}\ndata: {}\n\n", type, data);
}

}  // namespace inhouse::model_server
