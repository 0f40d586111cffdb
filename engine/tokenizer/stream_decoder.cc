#include "base/utf8.h"
#include "engine/tokenizer/tokenizer.h"

namespace inhouse::engine {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::Push(TokenId id) {
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return {};
  pending_ += tokenizer_->TokenBytes(id);
  const size_t held = base::IncompleteUtf8Suffix(pending_);
  const std::string_view complete = std::string_view(pending_).substr(0, pending_.size() - held);
  std::string text = base::ReplaceInvalidUtf8(complete);
  pending_.erase(0, complete.size());
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = base::ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace inhouse::engine
