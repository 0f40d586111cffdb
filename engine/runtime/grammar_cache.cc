#include "engine/runtime/grammar_cache.h"

#include <unordered_set>
#include <utility>

#include "base/status.h"

namespace inhouse::engine {
namespace {

// Equal for equal specs only: every text comes with its length.
void AppendKey(const GrammarSpec& spec, std::string* out) {
  *out += std::to_string(static_cast<int>(spec.kind)) + (spec.strict ? "s" : "-") +
          std::to_string(spec.min) + "," + std::to_string(spec.max) + "," +
          std::to_string(spec.text.size()) + ":" + spec.text + "(";
  for (const GrammarSpec& part : spec.parts) AppendKey(part, out);
  *out += ")";
}

}  // namespace

std::shared_ptr<const TokenTrie> MakeTokenTrie(const Tokenizer& tokenizer) {
  std::unordered_set<TokenId> added;
  for (const AddedToken& token : tokenizer.spec().added_tokens) added.insert(token.id);
  TokenTrie::Vocabulary vocabulary;
  vocabulary.size = tokenizer.vocab_size();
  for (TokenId id = 0; id < vocabulary.size; ++id) {
    const std::string_view bytes = tokenizer.TokenBytes(id);
    if (bytes.empty()) continue;
    const bool is_marker = added.contains(id) || tokenizer.IsSpecial(id);
    (is_marker ? vocabulary.markers : vocabulary.tokens).emplace_back(bytes, id);
  }
  return std::make_shared<const TokenTrie>(std::move(vocabulary));
}

std::shared_ptr<const TokenTrie> GrammarCache::Trie() {
  absl::MutexLock lock(&trie_mutex_);
  if (!trie_) trie_ = MakeTokenTrie(*tokenizer_);
  return trie_;
}

absl::StatusOr<std::shared_ptr<Grammar>> GrammarCache::Get(const GrammarSpec& spec) {
  if (tokenizer_ == nullptr) {
    return base::InvalidInput(
        {.field = "grammar", .expected = "none: this checkpoint has no tokenizer"});
  }
  std::string key;
  AppendKey(spec, &key);
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return entries_.front().grammar;
    }
  }
  // Without the lock: others go on. Two threads may compile the same; one of the two is kept.
  INHOUSE_ASSIGN_OR_RETURN(std::shared_ptr<Grammar> grammar, Grammar::Compile(spec, Trie()));
  absl::MutexLock lock(&mutex_);
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) return found->second->grammar;
  entries_.push_front({key, grammar});
  by_key_.emplace(std::move(key), entries_.begin());
  KeepSmall();
  return grammar;
}

void GrammarCache::KeepSmall() {
  size_t bytes = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    bytes += entry->grammar->memory_bytes() + entry->key.size();
    if (bytes <= bytes_max_ || entry == entries_.begin()) {
      ++entry;
    } else {
      by_key_.erase(entry->key);
      entry = entries_.erase(entry);
    }
  }
}

size_t GrammarCache::size() const {
  absl::MutexLock lock(&mutex_);
  return entries_.size();
}

}  // namespace inhouse::engine
