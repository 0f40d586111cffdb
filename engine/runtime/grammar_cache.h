// Compiled grammars of one model, kept for the next request that asks for the same.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/sampling/grammar/grammar.h"
#include "engine/tokenizer/tokenizer.h"

namespace inhouse::engine {

// The vocabulary as a tree, without the tokens that are no text.
std::shared_ptr<const TokenTrie> MakeTokenTrie(const Tokenizer& tokenizer);

// Thread-safe. Keeps the grammars used last, up to `bytes_max` in all; those in use live on.
class GrammarCache {
 public:
  // `tokenizer` may be null (then every request is refused) and must outlive the cache.
  explicit GrammarCache(const Tokenizer* tokenizer, size_t bytes_max = 64 << 20)
      : tokenizer_(tokenizer), bytes_max_(bytes_max) {}

  // Compiles on the caller's thread if need be. InvalidArgument as Grammar::Compile.
  absl::StatusOr<std::shared_ptr<Grammar>> Get(const GrammarSpec& spec);

  size_t size() const;  // grammars kept

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<Grammar> grammar;
  };

  std::shared_ptr<const TokenTrie> Trie();
  void KeepSmall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Tokenizer* tokenizer_;
  const size_t bytes_max_;
  absl::Mutex trie_mutex_;
  std::shared_ptr<const TokenTrie> trie_ ABSL_GUARDED_BY(trie_mutex_);  // made by the first request
  mutable absl::Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inhouse::engine
