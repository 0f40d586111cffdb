// Cuts text into the pieces that BPE works on: the steps of the spec, one inside the other.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/splitter.h"
#include "engine/tokenizer/tokenizer_spec.h"

namespace inhouse::engine {

// Immutable after Create; any thread may call ForEachPiece.
class PreTokenizer {
 public:
  // Errors name the file `path` and the step.
  static absl::StatusOr<PreTokenizer> Create(const std::vector<PreTokenizerStep>& steps,
                                             const std::string& path);

  // Calls `sink(piece)` for the pieces of `text` (UTF-8) in order, depth first: no list of pieces
  // is ever made. Pieces are not empty.
  template <typename Sink>
  void ForEachPiece(std::string_view text, Sink&& sink) const {
    Cut(text, 0, sink);
  }

 private:
  struct Step {
    std::unique_ptr<Splitter> splitter;  // null: leaves the piece whole
    PreTokenizerStep::Behavior behavior = PreTokenizerStep::Behavior::kIsolated;
    bool invert = false;
    bool add_prefix_space = false;
  };

  template <typename Sink>
  void Cut(std::string_view piece, size_t step, Sink& sink) const {
    if (piece.empty()) return;
    if (step == steps_.size()) {
      sink(piece);
      return;
    }
    if (steps_[step].add_prefix_space && piece.front() != ' ') {
      CutAtMatches(" " + std::string(piece), step, sink);
    } else {
      CutAtMatches(piece, step, sink);
    }
  }

  template <typename Sink>
  void CutAtMatches(std::string_view piece, size_t step, Sink& sink) const {
    const Step& how = steps_[step];
    if (how.splitter == nullptr) {
      Cut(piece, step + 1, sink);
      return;
    }
    if (how.behavior != PreTokenizerStep::Behavior::kIsolated) {
      for (const Match& part : Parts(how, piece)) {
        Cut(piece.substr(part.begin, part.end - part.begin), step + 1, sink);
      }
      return;
    }
    size_t done = 0;
    for (Match match; how.splitter->Find(piece, done, &match); done = match.end) {
      if (match.begin > done) Cut(piece.substr(done, match.begin - done), step + 1, sink);
      Cut(piece.substr(match.begin, match.end - match.begin), step + 1, sink);
    }
    if (done < piece.size()) Cut(piece.substr(done), step + 1, sink);
  }

  // The pieces of a step that does not isolate its matches.
  static std::vector<Match> Parts(const Step& step, std::string_view piece);

  std::vector<Step> steps_;
};

}  // namespace inhouse::engine
