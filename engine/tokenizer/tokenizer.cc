#include "engine/tokenizer/tokenizer.h"

#include <atomic>
#include <cstring>
#include <unordered_map>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/nfc.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/vocabulary.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr size_t kVocabMax = size_t{1} << 24;
constexpr size_t kVocabBytesMax = size_t{1} << 30;
// The longest ones known have some forty bytes; matching costs up to this much for each byte.
constexpr size_t kAddedTokenBytesMax = 1024;

// The token that a piece is as a whole: the vocabulary says yes, but do the merges get there?
enum WholePiece : uint8_t { kUntried, kReached, kNotReached };

size_t AsciiPrefix(std::string_view text) {
  size_t i = 0;
  for (uint64_t word; i + 8 <= text.size(); i += 8) {
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080) != 0) break;
  }
  return i;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    text.remove_prefix(AsciiPrefix(text));
    for (int chars = 0; chars < 64 && !text.empty(); ++chars) {
      const base::Utf8Step step = base::DecodeUtf8(text);
      if (!step.valid) return false;
      text.remove_prefix(step.size);
    }
  }
  return true;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(size_t size)
      : vocab(size), special(size), whole(std::make_unique<std::atomic<uint8_t>[]>(size)) {}

  TokenizerSpec spec;  // without vocabulary and merges
  Vocabulary vocab;
  std::unordered_map<int32_t, std::string> added_content;
  std::unordered_map<std::string, int32_t> literal_ids;  // added tokens and what is not byte-level
  std::vector<bool> special;
  AddedTokenMatcher raw_matcher;
  AddedTokenMatcher normalized_matcher;
  bool has_normalized_tokens = false;
  PreTokenizer pre_tokenizer;
  std::optional<Bpe> bpe;
  // Relaxed atomics: every thread that finds out writes the same value.
  std::unique_ptr<std::atomic<uint8_t>[]> whole;

  absl::Status SetVocabulary();
  absl::Status SetAddedTokens();
  absl::Status SetMerges();
  absl::Status CheckIds() const;
  absl::StatusOr<int32_t> MergeId(const std::string& token, size_t rank) const;

  void AppendPiece(std::string_view piece, std::vector<TokenId>* ids) const;
  void AppendPlain(std::string_view text, std::vector<TokenId>* ids) const;
  void AppendWithNormalizedTokens(std::string_view text, std::vector<TokenId>* ids) const;
};

absl::Status Tokenizer::Impl::SetVocabulary() {
  size_t bytes_total = 0;
  for (size_t i = 0; i < spec.vocab.size(); ++i) {
    const std::string& token = spec.vocab[i];
    if (token.empty()) continue;
    bytes_total += token.size();
    if (bytes_total > kVocabBytesMax) {
      return base::InvalidInput({.file = spec.path,
                                 .field = "vocab",
                                 .expected = fmt::format("at most {} bytes", kVocabBytesMax)});
    }
    const auto id = static_cast<int32_t>(i);
    const std::optional<std::string> bytes = ByteLevelDecode(token);
    vocab.Set(id, bytes.has_value() ? *bytes : token, bytes.has_value());
    if (!bytes.has_value()) literal_ids[token] = id;
  }
  vocab.BuildIndex();
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::SetAddedTokens() {
  const auto bad = [this](const AddedToken& token, std::string expected) {
    return base::InvalidInput({.file = spec.path,
                               .field = fmt::format("added_tokens: id {}", token.id),
                               .value = token.content,
                               .expected = std::move(expected)});
  };
  // Special ones first: if two normalize to the same text, the first is found.
  for (const bool special_pass : {true, false}) {
    for (const AddedToken& token : spec.added_tokens) {
      if (token.special != special_pass || token.content.empty()) continue;
      if (token.content.size() > kAddedTokenBytesMax) {
        return bad(token, fmt::format("at most {} bytes", kAddedTokenBytesMax));
      }
      if (!base::IsValidUtf8(token.content)) return bad(token, "UTF-8");
      if (!added_content.emplace(token.id, token.content).second) {
        return bad(token, "an id of its own");
      }
      literal_ids[token.content] = token.id;
      if (token.special) special[static_cast<size_t>(token.id)] = true;
      if (token.normalized) {
        has_normalized_tokens = true;
        normalized_matcher.Add(token, spec.nfc ? ToNfc(token.content) : token.content);
      } else {
        raw_matcher.Add(token, token.content);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> Tokenizer::Impl::MergeId(const std::string& token, size_t rank) const {
  const std::optional<std::string> bytes = ByteLevelDecode(token);
  const int32_t id = bytes.has_value() && !bytes->empty() ? vocab.Find(*bytes) : -1;
  if (id < 0) {
    return base::InvalidInput({.file = spec.path,
                               .field = fmt::format("merges: rule {}", rank),
                               .value = token,
                               .expected = "a byte-level token of the vocabulary"});
  }
  return id;
}

absl::Status Tokenizer::Impl::SetMerges() {
  MergeTable table(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    INHOUSE_ASSIGN_OR_RETURN(const int32_t left_id, MergeId(left, rank));
    INHOUSE_ASSIGN_OR_RETURN(const int32_t right_id, MergeId(right, rank));
    INHOUSE_ASSIGN_OR_RETURN(const int32_t joined_id, MergeId(left + right, rank));
    table.Set(left_id, right_id, {static_cast<uint32_t>(rank), joined_id});
  }
  Bpe::ByteTokens bytes;
  bytes.unk_id = spec.unk_id;
  bytes.fuse_unk = spec.fuse_unk;
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    bytes.id[byte] = vocab.Find(std::string_view(&c, 1));
  }
  bpe.emplace(std::move(table), bytes);
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::CheckIds() const {
  const auto check = [this](int32_t id, std::string_view field) {
    if (id >= -1 && id < static_cast<int64_t>(vocab.size())) return absl::OkStatus();
    return base::InvalidInput({.file = spec.path,
                               .field = std::string(field),
                               .value = std::to_string(id),
                               .expected = fmt::format("an id below {}", vocab.size())});
  };
  INHOUSE_RETURN_IF_ERROR(check(spec.bos_id, "bos_token"));
  INHOUSE_RETURN_IF_ERROR(check(spec.eos_id, "eos_token"));
  INHOUSE_RETURN_IF_ERROR(check(spec.pad_id, "pad_token"));
  INHOUSE_RETURN_IF_ERROR(check(spec.unk_id, "unk_token"));
  for (const int32_t id : spec.prefix_ids) INHOUSE_RETURN_IF_ERROR(check(id, "post_processor"));
  for (const int32_t id : spec.suffix_ids) INHOUSE_RETURN_IF_ERROR(check(id, "post_processor"));
  return absl::OkStatus();
}

void Tokenizer::Impl::AppendPiece(std::string_view piece, std::vector<TokenId>* ids) const {
  const int32_t whole_id = vocab.Find(piece);
  if (whole_id < 0) {
    bpe->Append(piece, ids);
    return;
  }
  std::atomic<uint8_t>& reached = whole[static_cast<size_t>(whole_id)];
  if (spec.ignore_merges || reached.load(std::memory_order_relaxed) == kReached) {
    ids->push_back(whole_id);
    return;
  }
  const size_t first = ids->size();
  bpe->Append(piece, ids);
  const bool is_whole = ids->size() == first + 1 && ids->back() == whole_id;
  reached.store(is_whole ? kReached : kNotReached, std::memory_order_relaxed);
}

// Normalized text without added tokens.
void Tokenizer::Impl::AppendPlain(std::string_view text, std::vector<TokenId>* ids) const {
  pre_tokenizer.ForEachPiece(text, [&](std::string_view piece) { AppendPiece(piece, ids); });
}

void Tokenizer::Impl::AppendWithNormalizedTokens(std::string_view text,
                                                 std::vector<TokenId>* ids) const {
  std::string normalized;
  if (spec.nfc && !IsPlainNfc(text)) {
    normalized = ToNfc(text);
    text = normalized;
  }
  normalized_matcher.Split(
      text, [&](std::string_view piece) { AppendPlain(piece, ids); },
      [&](TokenId id) { ids->push_back(id); });
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(TokenizerSpec spec) {
  size_t size = spec.vocab.size();
  for (const AddedToken& token : spec.added_tokens) {
    if (token.id < 0 || static_cast<size_t>(token.id) >= kVocabMax) {
      return base::InvalidInput({.file = spec.path,
                                 .field = fmt::format("added_tokens: '{}'", token.content),
                                 .value = std::to_string(token.id),
                                 .expected = fmt::format("an id from 0 to {}", kVocabMax - 1)});
    }
    size = std::max(size, static_cast<size_t>(token.id) + 1);
  }
  if (size == 0 || size > kVocabMax) {
    return base::InvalidInput({.file = spec.path,
                               .field = "vocab",
                               .value = fmt::format("{} tokens", size),
                               .expected = fmt::format("1 to {} tokens", kVocabMax)});
  }
  auto impl = std::make_unique<Impl>(size);
  impl->spec = std::move(spec);
  INHOUSE_ASSIGN_OR_RETURN(impl->pre_tokenizer,
                           PreTokenizer::Create(impl->spec.pre_tokenizer, impl->spec.path));
  INHOUSE_RETURN_IF_ERROR(impl->SetVocabulary());
  INHOUSE_RETURN_IF_ERROR(impl->SetAddedTokens());
  INHOUSE_RETURN_IF_ERROR(impl->SetMerges());
  INHOUSE_RETURN_IF_ERROR(impl->CheckIds());
  std::vector<std::string>().swap(impl->spec.vocab);
  std::vector<std::pair<std::string, std::string>>().swap(impl->spec.merges);
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 8);
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = base::ReplaceInvalidUtf8(text);
    text = repaired;
  }
  if (options.add_special_tokens) ids = impl_->spec.prefix_ids;
  if (options.parse_special) {
    impl_->raw_matcher.Split(
        text, [&](std::string_view piece) { impl_->AppendWithNormalizedTokens(piece, &ids); },
        [&](TokenId id) { ids.push_back(id); });
  } else if (impl_->spec.nfc && !IsPlainNfc(text)) {
    impl_->AppendPlain(ToNfc(text), &ids);
  } else {
    impl_->AppendPlain(text, &ids);
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), impl_->spec.suffix_ids.begin(), impl_->spec.suffix_ids.end());
  }
  return ids;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    bytes += TokenBytes(id);
  }
  return IsValidUtf8(bytes) ? bytes : base::ReplaceInvalidUtf8(bytes);
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->vocab.size()); }

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  const auto added = impl_->added_content.find(id);
  if (added != impl_->added_content.end()) return added->second;
  return impl_->vocab.Bytes(id);
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < impl_->special.size() &&
         impl_->special[static_cast<size_t>(id)];
}

std::optional<TokenId> Tokenizer::TokenToId(std::string_view content) const {
  const auto literal = impl_->literal_ids.find(std::string(content));
  if (literal != impl_->literal_ids.end()) return literal->second;
  const int32_t id = content.empty() ? -1 : impl_->vocab.Find(content);
  if (id < 0) return std::nullopt;
  return id;
}

namespace {
std::optional<TokenId> IfAny(int32_t id) { return id < 0 ? std::nullopt : std::optional(id); }
}  // namespace

std::optional<TokenId> Tokenizer::bos() const { return IfAny(impl_->spec.bos_id); }
std::optional<TokenId> Tokenizer::eos() const { return IfAny(impl_->spec.eos_id); }

bool Tokenizer::adds_bos() const {
  const std::vector<int32_t>& prefix = impl_->spec.prefix_ids;
  return impl_->spec.bos_id >= 0 && !prefix.empty() && prefix.front() == impl_->spec.bos_id;
}

const TokenizerSpec& Tokenizer::spec() const { return impl_->spec; }

}  // namespace inhouse::engine
