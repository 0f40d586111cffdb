#include "apps/inhouse/comparison.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "engine/formats/checkpoint.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

using engine::Engine;
using engine::TokenId;
using Row = std::span<const float>;

constexpr int64_t kDecodeTokens = 48;

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The text in windows, each with BOS in front if the model wants it.
struct Windows {
  std::vector<std::vector<TokenId>> ids;
  int64_t positions = 0;
};

absl::StatusOr<Windows> Cut(const engine::Tokenizer& tokenizer, const ComparisonOptions& options) {
  std::vector<TokenId> ids = tokenizer.Encode(options.text, {.parse_special = false});
  ids.resize(std::min(ids.size(), static_cast<size_t>(options.tokens)));
  if (ids.size() < 2) {
    return base::InvalidInput({.file = options.text_name,
                               .value = fmt::format("{} tokens", ids.size()),
                               .expected = "a text of two tokens at least"});
  }
  Windows out;
  const int64_t first = tokenizer.adds_bos() ? 1 : 0;
  const auto step = static_cast<size_t>(options.context - first);
  for (size_t begin = 0; begin < ids.size(); begin += step) {
    const size_t end = std::min(begin + step, ids.size());
    std::vector<TokenId>& window = out.ids.emplace_back();
    if (first == 1) window.push_back(*tokenizer.bos());
    window.insert(window.end(), ids.begin() + static_cast<int64_t>(begin),
                  ids.begin() + static_cast<int64_t>(end));
    out.positions += static_cast<int64_t>(window.size());
  }
  return out;
}

absl::Status CheckVocabularies(const Engine& a, const Engine& b, const ComparisonOptions& options) {
  const auto differ = [&](std::string value, std::string expected) {
    return base::InvalidInput({.file = options.b.model,
                               .field = "vocabulary",
                               .value = std::move(value),
                               .expected = fmt::format("{}, as {} has", expected, options.a.model),
                               .hint = "Only models with one vocabulary can be compared"});
  };
  if (a.info().vocab_size != b.info().vocab_size) {
    return differ(fmt::format("{} tokens", b.info().vocab_size),
                  fmt::format("{} tokens", a.info().vocab_size));
  }
  if (a.tokenizer() == nullptr || b.tokenizer() == nullptr) return absl::OkStatus();
  const std::string_view text = std::string_view(options.text).substr(0, 1 << 16);
  const engine::EncodeOptions plain{.parse_special = false};
  if (a.tokenizer()->Encode(text, plain) != b.tokenizer()->Encode(text, plain)) {
    return differ("other ids for the text", "the same ids");
  }
  return absl::OkStatus();
}

// Logits of all windows in a file without a name, for models that do not fit together.
class LogitFile {
 public:
  static absl::StatusOr<std::unique_ptr<LogitFile>> Create(int64_t rows, int64_t columns) {
    std::unique_ptr<LogitFile> file(new LogitFile(columns));
    const char* folder = std::getenv("TMPDIR");
    std::string name =
        fmt::format("{}/inhouse-compare-XXXXXX", folder == nullptr ? "/tmp" : folder);
    file->fd_ = mkostemp(name.data(), O_CLOEXEC);
    if (file->fd_ < 0) return base::OsError(errno, name, "create");
    unlink(name.c_str());
    const int64_t bytes = rows * columns * static_cast<int64_t>(sizeof(float));
    if (const int error = posix_fallocate(file->fd_, 0, bytes); error != 0) {
      return base::OsError(error, name,
                           fmt::format("reserve {} in", FormatBytes(static_cast<double>(bytes))));
    }
    return file;
  }
  ~LogitFile() {
    if (fd_ >= 0) close(fd_);
  }
  LogitFile(const LogitFile&) = delete;
  LogitFile& operator=(const LogitFile&) = delete;

  bool Write(int64_t row, Row logits) const {
    return Whole(pwrite(fd_, logits.data(), logits.size_bytes(), Offset(row)), logits.size_bytes());
  }
  bool Read(int64_t row, std::vector<float>* logits) const {
    logits->resize(static_cast<size_t>(columns_));
    const size_t bytes = logits->size() * sizeof(float);
    return Whole(pread(fd_, logits->data(), bytes, Offset(row)), bytes);
  }

 private:
  explicit LogitFile(int64_t columns) : columns_(columns) {}
  off_t Offset(int64_t row) const { return row * columns_ * static_cast<off_t>(sizeof(float)); }
  static bool Whole(ssize_t done, size_t wanted) { return done == static_cast<ssize_t>(wanted); }

  int fd_ = -1;
  int64_t columns_;
};

class Comparer {
 public:
  explicit Comparer(ComparisonOptions options) : options_(std::move(options)) {}

  absl::StatusOr<Comparison> Do() {
    INHOUSE_ASSIGN_OR_RETURN(out_.bytes_a, StoredBytes(options_.a.model));
    INHOUSE_ASSIGN_OR_RETURN(out_.bytes_b, StoredBytes(options_.b.model));
    INHOUSE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> a, LoadEngine(options_.a));
    options_.context = std::min(options_.context, a->info().context_tokens);
    INHOUSE_ASSIGN_OR_RETURN(windows_, Cut(*a->tokenizer(), options_));
    INHOUSE_RETURN_IF_ERROR(options_.one_at_a_time ? OneAfterTheOther(std::move(a))
                                                   : TogetherIfTheyFit(std::move(a)));
    out_.divergence = divergence_.Summary();
    out_.context = options_.context;
    return out_;
  }

 private:
  static absl::StatusOr<int64_t> StoredBytes(const std::string& model) {
    INHOUSE_ASSIGN_OR_RETURN(const auto checkpoint, engine::Checkpoint::Open(model));
    return static_cast<int64_t>(checkpoint->tensors.total_bytes());
  }

  // Gives all rows of a model, window by window; `row` counts over all windows.
  absl::Status Read(Engine& engine, const std::string& label,
                    const std::function<void(int64_t row, Row)>& on_row) {
    ProgressBar bar(label, ProgressBar::Unit::kCount);
    int64_t first = 0;
    for (const std::vector<TokenId>& window : windows_.ids) {
      if (Interrupted()) return absl::CancelledError("interrupted");
      bar.Set(static_cast<uint64_t>(first), static_cast<uint64_t>(windows_.positions));
      INHOUSE_RETURN_IF_ERROR(ReadWindow(
          engine, window, [&](int64_t position, Row logits) { on_row(first + position, logits); }));
      first += static_cast<int64_t>(window.size());
    }
    return absl::OkStatus();
  }

  static absl::Status ReadWindow(Engine& engine, const std::vector<TokenId>& window,
                                 const std::function<void(int64_t, Row)>& on_row) {
    return engine.Logits(window, {.all = true, .on_row = on_row}).status();
  }

  // One window of A's logits is in memory, B's pass by row for row.
  absl::Status ReadTogether(Engine& a, Engine& b) {
    ProgressBar bar("comparing", ProgressBar::Unit::kCount);
    int64_t done = 0;
    for (const std::vector<TokenId>& window : windows_.ids) {
      if (Interrupted()) return absl::CancelledError("interrupted");
      bar.Set(static_cast<uint64_t>(done), static_cast<uint64_t>(windows_.positions));
      INHOUSE_ASSIGN_OR_RETURN(const auto rows, a.Logits(window, {.all = true}));
      INHOUSE_RETURN_IF_ERROR(ReadWindow(b, window, [&](int64_t position, Row logits) {
        Add(window, position, rows[static_cast<size_t>(position)], logits);
      }));
      done += static_cast<int64_t>(window.size());
    }
    return absl::OkStatus();
  }

  absl::Status TogetherIfTheyFit(std::unique_ptr<Engine> a) {
    const absl::StatusOr<std::unique_ptr<Engine>> b = LoadEngine(options_.b);
    if (absl::IsResourceExhausted(b.status())) return OneAfterTheOther(std::move(a));
    INHOUSE_RETURN_IF_ERROR(b.status());
    INHOUSE_RETURN_IF_ERROR(CheckVocabularies(*a, **b, options_));
    INHOUSE_RETURN_IF_ERROR(ReadTogether(*a, **b));
    return MeasureTogether(*a, **b);
  }

  void Add(const std::vector<TokenId>& window, int64_t position, Row a, Row b) {
    const auto next = static_cast<size_t>(position) + 1;
    divergence_.Add(a, b, next < window.size() ? std::optional(window[next]) : std::nullopt);
  }

  absl::Status OneAfterTheOther(std::unique_ptr<Engine> a) {
    out_.interleaved = false;
    const int64_t vocab = a->info().vocab_size;
    INHOUSE_ASSIGN_OR_RETURN(const auto file, LogitFile::Create(windows_.positions, vocab));
    bool kept = true;
    INHOUSE_RETURN_IF_ERROR(Read(*a, "reading A", [&](int64_t row, Row logits) {
      kept = file->Write(row, logits) && kept;
    }));
    INHOUSE_RETURN_IF_ERROR(MeasureAlone(*a, &out_.speed_a));
    const std::vector<TokenId> ids =
        a->tokenizer()->Encode(options_.text, {.parse_special = false});
    a.reset();
    INHOUSE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> b, LoadEngine(options_.b));
    if (b->info().vocab_size != vocab ||
        (b->tokenizer() != nullptr &&
         b->tokenizer()->Encode(options_.text, {.parse_special = false}) != ids)) {
      return base::InvalidInput({.file = options_.b.model,
                                 .field = "vocabulary",
                                 .expected = "that of " + options_.a.model});
    }
    std::vector<float> row_a;
    size_t window = 0;
    int64_t begin = 0;
    INHOUSE_RETURN_IF_ERROR(Read(*b, "reading B", [&](int64_t row, Row logits) {
      while (row - begin >= static_cast<int64_t>(windows_.ids[window].size())) {
        begin += static_cast<int64_t>(windows_.ids[window++].size());
      }
      kept = file->Read(row, &row_a) && kept;
      Add(windows_.ids[window], row - begin, row_a, logits);
    }));
    if (!kept) return absl::DataLossError("the temporary file of logits could not be kept");
    return MeasureAlone(*b, &out_.speed_b);
  }

  // One answer to the first window: prefill and decode, tokens a second.
  absl::StatusOr<Speed> MeasureOnce(Engine& engine) {
    engine::GenerateRequest request;
    request.prompt_ids = windows_.ids.front();
    const int64_t room = engine.info().context_tokens - kDecodeTokens;
    request.prompt_ids.resize(static_cast<size_t>(
        std::clamp<int64_t>(room, 1, static_cast<int64_t>(request.prompt_ids.size()))));
    request.sampling.temperature = 0;
    request.max_tokens = kDecodeTokens;
    request.ignore_eos = true;
    INHOUSE_ASSIGN_OR_RETURN(const engine::TokenEvent last,
                             RunToEnd(engine, std::move(request), [](const auto&) {}));
    if (last.finish == engine::FinishReason::kCancelled) return absl::CancelledError("interrupted");
    out_.prefill_tokens = last.usage.prompt_tokens;
    out_.decode_tokens = last.usage.completion_tokens - 1;
    return Speed{.prefill = static_cast<double>(out_.prefill_tokens) /
                            std::max(last.timings.prefill_ms, 1e-3) * 1e3,
                 .decode = static_cast<double>(out_.decode_tokens) /
                           std::max(last.timings.decode_ms, 1e-3) * 1e3};
  }

  absl::Status MeasureInTurns(std::span<Engine* const> engines, std::span<Speed* const> speeds) {
    std::vector<std::vector<double>> prefill(engines.size());
    std::vector<std::vector<double>> decode(engines.size());
    for (int round = 0; round < options_.speed_rounds; ++round) {
      for (size_t i = 0; i < engines.size(); ++i) {
        INHOUSE_ASSIGN_OR_RETURN(const Speed speed, MeasureOnce(*engines[i]));
        prefill[i].push_back(speed.prefill);
        decode[i].push_back(speed.decode);
      }
    }
    for (size_t i = 0; i < engines.size(); ++i)
      *speeds[i] = {Median(prefill[i]), Median(decode[i])};
    return absl::OkStatus();
  }

  absl::Status MeasureTogether(Engine& a, Engine& b) {
    Engine* const engines[] = {&a, &b};
    Speed* const speeds[] = {&out_.speed_a, &out_.speed_b};
    return MeasureInTurns(engines, speeds);
  }

  absl::Status MeasureAlone(Engine& engine, Speed* speed) {
    Engine* const engines[] = {&engine};
    return MeasureInTurns(engines, {&speed, 1});
  }

  ComparisonOptions options_;
  Windows windows_;
  engine::Divergence divergence_;
  Comparison out_;
};

}  // namespace

absl::StatusOr<Comparison> Compare(const ComparisonOptions& options) {
  return Comparer(options).Do();
}

}  // namespace inhouse::apps
