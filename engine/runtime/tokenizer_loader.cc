#include "engine/runtime/tokenizer_loader.h"

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// llama.cpp's token types, as GGUF stores them.
enum GgufTokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

absl::Status ReadVocabulary(const GgufMetadata& gguf, TokenizerSpec* spec) {
  INHOUSE_ASSIGN_OR_RETURN(const auto* tokens, gguf.Strings("tokenizer.ggml.tokens"));
  INHOUSE_ASSIGN_OR_RETURN(const auto* types, gguf.Ints("tokenizer.ggml.token_type"));
  if (tokens == nullptr || tokens->empty()) {
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.file = gguf.path(), .field = "tokenizer.ggml.tokens", .expected = "a vocabulary"});
  }
  if (types != nullptr && types->size() != tokens->size()) {
    return base::InvalidInput({.file = gguf.path(),
                               .field = "tokenizer.ggml.token_type",
                               .value = fmt::format("{} entries", types->size()),
                               .expected = fmt::format("{}, one a token", tokens->size())});
  }
  spec->vocab.resize(tokens->size());
  for (size_t i = 0; i < tokens->size(); ++i) {
    const int64_t type = types == nullptr ? int64_t{kNormal} : (*types)[i];
    if (type == kControl || type == kUserDefined || type == kUnknown) {
      spec->added_tokens.push_back({.id = static_cast<int32_t>(i),
                                    .content = (*tokens)[i],
                                    .special = type != kUserDefined});
    } else if (type != kUnused) {
      spec->vocab[i] = (*tokens)[i];
    }
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const GgufMetadata& gguf, TokenizerSpec* spec) {
  INHOUSE_ASSIGN_OR_RETURN(const auto* merges, gguf.Strings("tokenizer.ggml.merges"));
  if (merges == nullptr) {
    return base::InvalidInput({.file = gguf.path(),
                               .field = "tokenizer.ggml.merges",
                               .expected = "the merges of a byte-level BPE tokenizer"});
  }
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string& merge = (*merges)[i];
    // No byte-level token contains a space.
    const size_t space = merge.find(' ');
    if (space == 0 || space == std::string::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string::npos) {
      return base::InvalidInput({.file = gguf.path(),
                                 .field = fmt::format("tokenizer.ggml.merges[{}]", i),
                                 .value = merge,
                                 .expected = "two tokens with a space between"});
    }
    spec->merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return absl::OkStatus();
}

// Files without the key: Llama 3 adds BOS, the other byte-level families don't (llama.cpp,
// llama-vocab.cpp).
bool AddsBosByDefault(std::string_view pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

absl::Status ReadSpecialTokens(const GgufMetadata& gguf, std::string_view pre,
                               TokenizerSpec* spec) {
  const auto max = static_cast<int64_t>(spec->vocab.size()) - 1;
  const auto read = [&](const char* key, int32_t* id) -> absl::Status {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t value, gguf.IntOr(key, -1, -1, UINT32_MAX));
    *id = value <= max ? static_cast<int32_t>(value) : -1;  // converters write 2^32 - 1 for "none"
    return absl::OkStatus();
  };
  INHOUSE_RETURN_IF_ERROR(read("tokenizer.ggml.bos_token_id", &spec->bos_id));
  INHOUSE_RETURN_IF_ERROR(read("tokenizer.ggml.eos_token_id", &spec->eos_id));
  INHOUSE_RETURN_IF_ERROR(read("tokenizer.ggml.padding_token_id", &spec->pad_id));
  INHOUSE_ASSIGN_OR_RETURN(const bool add_bos,
                           gguf.BoolOr("tokenizer.ggml.add_bos_token", AddsBosByDefault(pre)));
  INHOUSE_ASSIGN_OR_RETURN(const bool add_eos, gguf.BoolOr("tokenizer.ggml.add_eos_token", false));
  if (add_bos && spec->bos_id >= 0) spec->prefix_ids = {spec->bos_id};
  if (add_eos && spec->eos_id >= 0) spec->suffix_ids = {spec->eos_id};
  INHOUSE_ASSIGN_OR_RETURN(spec->chat_template, gguf.StringOr("tokenizer.chat_template", ""));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> TokenizerSpecOf(const GgufMetadata& gguf) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string model, gguf.StringOr("tokenizer.ggml.model", ""));
  if (model.empty()) {
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.file = gguf.path(), .field = "tokenizer.ggml.model", .expected = "a tokenizer"});
  }
  if (model != "gpt2") {
    return base::InvalidInput({.file = gguf.path(),
                               .field = "tokenizer.ggml.model",
                               .value = model,
                               .expected = "gpt2 (byte-level BPE)"});
  }
  TokenizerSpec spec;
  spec.path = gguf.path();
  INHOUSE_RETURN_IF_ERROR(ReadVocabulary(gguf, &spec));
  INHOUSE_RETURN_IF_ERROR(ReadMerges(gguf, &spec));
  // Early files lack the name; a guess would give other ids without a word.
  INHOUSE_ASSIGN_OR_RETURN(const std::string pre, gguf.StringOr("tokenizer.ggml.pre", ""));
  INHOUSE_RETURN_IF_ERROR(SetGgufPreTokenizer(pre, &spec));
  INHOUSE_ASSIGN_OR_RETURN(spec.pre_tokenizer.back().add_prefix_space,
                           gguf.BoolOr("tokenizer.ggml.add_space_prefix", false));
  INHOUSE_RETURN_IF_ERROR(ReadSpecialTokens(gguf, pre, &spec));
  return spec;
}

absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const std::string& path) {
  if (std::filesystem::is_directory(path)) return ReadTokenizerJson(path);
  INHOUSE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path, /*need_weights=*/false));
  if (checkpoint->gguf) return TokenizerSpecOf(*checkpoint->gguf);
  return ReadTokenizerJson(path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(TokenizerSpec spec, ReadTokenizerSpec(path));
  return Tokenizer::Create(std::move(spec));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint) {
  if (!checkpoint.gguf) return LoadTokenizer(checkpoint.path);
  INHOUSE_ASSIGN_OR_RETURN(TokenizerSpec spec, TokenizerSpecOf(*checkpoint.gguf));
  return Tokenizer::Create(std::move(spec));
}

}  // namespace inhouse::engine
