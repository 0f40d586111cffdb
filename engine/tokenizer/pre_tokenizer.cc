#include "engine/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Behavior = PreTokenizerStep::Behavior;

struct Part {
  Match span;
  bool is_match;
};

// Matches and the gaps between them, in order, covering the piece.
std::vector<Part> FindAll(const Splitter& splitter, std::string_view piece, bool invert) {
  std::vector<Part> parts;
  size_t done = 0;
  for (Match match; splitter.Find(piece, done, &match); done = match.end) {
    if (match.begin > done) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
  }
  if (done < piece.size()) parts.push_back({{done, piece.size()}, invert});
  return parts;
}

// Joins runs of matches, and runs of gaps.
void JoinContiguous(const std::vector<Part>& parts, std::vector<Match>* out) {
  bool previous = false;
  for (const Part& part : parts) {
    if (part.is_match == previous && !out->empty()) {
      out->back().end = part.span.end;
    } else {
      out->push_back(part.span);
    }
    previous = part.is_match;
  }
}

// Joins each match to what precedes it, unless that is a match too.
void JoinToPrevious(const std::vector<Part>& parts, std::vector<Match>* out) {
  bool previous = false;
  for (const Part& part : parts) {
    if (part.is_match && !previous && !out->empty()) {
      out->back().end = part.span.end;
    } else {
      out->push_back(part.span);
    }
    previous = part.is_match;
  }
}

void JoinToNext(const std::vector<Part>& parts, std::vector<Match>* out) {
  bool next = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !next && !out->empty()) {
      out->back().begin = part->span.begin;
    } else {
      out->push_back(part->span);
    }
    next = part->is_match;
  }
  std::reverse(out->begin(), out->end());
}

}  // namespace

std::vector<Match> PreTokenizer::Parts(const Step& step, std::string_view piece) {
  const std::vector<Part> parts = FindAll(*step.splitter, piece, step.invert);
  std::vector<Match> out;
  switch (step.behavior) {
    case Behavior::kIsolated:
      for (const Part& part : parts) out.push_back(part.span);
      break;
    case Behavior::kRemoved:
      for (const Part& part : parts) {
        if (!part.is_match) out.push_back(part.span);
      }
      break;
    case Behavior::kContiguous:
      JoinContiguous(parts, &out);
      break;
    case Behavior::kMergedWithPrevious:
      JoinToPrevious(parts, &out);
      break;
    case Behavior::kMergedWithNext:
      JoinToNext(parts, &out);
      break;
  }
  return out;
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(const std::vector<PreTokenizerStep>& steps,
                                                  const std::string& path) {
  PreTokenizer out;
  for (size_t i = 0; i < steps.size(); ++i) {
    const PreTokenizerStep& step = steps[i];
    Step made;
    switch (step.kind) {
      case PreTokenizerStep::Kind::kSplit: {
        auto splitter = MakeSplitter(step.pattern);
        if (!splitter.ok()) {
          return base::InvalidInput({.file = path,
                                     .field = fmt::format("pre_tokenizer: step {}: pattern", i),
                                     .value = step.pattern,
                                     .expected = "a regex: " + base::Message(splitter.status())});
        }
        made.splitter = *std::move(splitter);
        made.behavior = step.behavior;
        made.invert = step.invert;
        break;
      }
      case PreTokenizerStep::Kind::kDigits:
        made.splitter = MakeDigitSplitter(step.individual_digits);
        break;
      case PreTokenizerStep::Kind::kByteLevel:
        if (step.use_regex) made.splitter = MakeWordSplitter(kGpt2Pattern);
        made.add_prefix_space = step.add_prefix_space;
        break;
    }
    out.steps_.push_back(std::move(made));
  }
  return out;
}

}  // namespace inhouse::engine
