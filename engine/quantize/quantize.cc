#include "engine/quantize/quantize.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "engine/quantize/encode.h"
#include "engine/quantize/gguf_source.h"
#include "engine/quantize/gptq.h"
#include "engine/quantize/output_directory.h"
#include "engine/quantize/source.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using nlohmann::ordered_json;

// Headers, index, configuration, tokenizer: what comes on top of the tensors.
constexpr int64_t kSpareBytes = 32 << 20;

// The digest of what decides the bytes of the weights: the plan, and the source by its tensors,
// the sizes of its files and samples of their content (all of it would take as long as the work).
std::string PlanKey(const Source& source, const QuantPlan& plan, const QuantizeOptions& options,
                    const KernelTable& kernels) {
  constexpr size_t kSamples = 64;
  constexpr size_t kSampleBytes = 4096;
  base::Sha256 digest;
  digest.Update(fmt::format("1 {} {} {} {}\n", Name(plan.options.format), plan.options.group,
                            plan.options.fp8_block, plan.options.shard_bytes));
  if (options.calibration) {
    // The moments are computed by this level's kernels.
    digest.Update(fmt::format("{} {}\n", Name(kernels.level), options.calibration->window));
    digest.Update(std::as_bytes(std::span(options.calibration->tokens)));
  }
  for (const SourceTensor& tensor : source.tensors()) {
    digest.Update(fmt::format("{} {} {} {}\n", tensor.name, ToString(tensor.shape),
                              Name(tensor.stored->view.dtype), tensor.stored->file_offset));
  }
  for (const auto& file : source.checkpoint().tensors.files()) {
    const std::span<const std::byte> bytes = file->bytes();
    digest.Update(fmt::format("{}\n", bytes.size()));
    for (size_t i = 0; i < kSamples; ++i) {
      const size_t begin = bytes.size() / kSamples * i;
      digest.Update(bytes.subspan(begin, std::min(kSampleBytes, bytes.size() - begin)));
    }
  }
  return digest.FinishHex();
}

class Run {
 public:
  Run(const Checkpoint& checkpoint, const QuantizeOptions& options, const KernelTable& kernels,
      base::ThreadTeam& team, const std::function<bool(const QuantizeProgress&)>& on_progress)
      : checkpoint_(checkpoint),
        options_(options),
        kernels_(kernels),
        team_(team),
        on_progress_(on_progress) {}

  absl::StatusOr<QuantizeReport> Do() {
    INHOUSE_RETURN_IF_ERROR(CheckPlace());
    INHOUSE_ASSIGN_OR_RETURN(source_, Source::Open(checkpoint_));
    INHOUSE_ASSIGN_OR_RETURN(plan_, MakePlan(*source_, options_.plan));
    key_ = PlanKey(*source_, plan_, options_, kernels_);
    INHOUSE_ASSIGN_OR_RETURN(directory_,
                             OutputDirectory::Open(options_.out, plan_, key_, options_.force));
    std::vector<bool> finished;
    int64_t missing = kSpareBytes;
    for (const PlannedShard& shard : plan_.shards) {
      finished.push_back(directory_->Finished(shard));
      if (!finished.back()) missing += ShardBytes(shard);
    }
    INHOUSE_RETURN_IF_ERROR(directory_->CheckSpace(missing));
    for (size_t i = 0; i < plan_.shards.size(); ++i) {
      if (finished[i]) {
        ++kept_;
        done_ += ShardParameters(plan_.shards[i]);
      } else {
        INHOUSE_RETURN_IF_ERROR(WriteShard(plan_.shards[i]));
      }
    }
    INHOUSE_RETURN_IF_ERROR(WriteSmallFiles());
    return Report();
  }

 private:
  // A model that is written over its own weights would be lost.
  absl::Status CheckPlace() const {
    std::error_code error;
    const std::filesystem::path out = std::filesystem::weakly_canonical(options_.out, error);
    const std::filesystem::path in = std::filesystem::weakly_canonical(checkpoint_.path, error);
    const bool beside = checkpoint_.gguf.has_value() && out == in.parent_path();
    if (!error && (out == in || beside)) {
      return base::InvalidInput(
          {.file = options_.out, .expected = "a directory other than the model's own"});
    }
    return absl::OkStatus();
  }

  int64_t ShardBytes(const PlannedShard& shard) const {
    int64_t bytes = 0;
    for (size_t i = shard.begin; i < shard.end; ++i) bytes += plan_.tensors[i].output_bytes();
    return bytes;
  }

  int64_t ShardParameters(const PlannedShard& shard) const {
    int64_t parameters = 0;
    for (size_t i = shard.begin; i < shard.end; ++i) {
      parameters += ElementCount(plan_.tensors[i].source->shape);
    }
    return parameters;
  }

  absl::Status WriteShard(const PlannedShard& shard) {
    std::vector<SafetensorsSpec> specs;
    for (size_t i = shard.begin; i < shard.end; ++i) {
      const auto& outputs = plan_.tensors[i].outputs;
      specs.insert(specs.end(), outputs.begin(), outputs.end());
    }
    INHOUSE_ASSIGN_OR_RETURN(
        const auto writer,
        SafetensorsWriter::Create(directory_->PathOf(shard.file), std::move(specs),
                                  {{"format", "pt"}, {kPlanKeyName, key_}}));
    const EncodeJob job{*source_, team_, *writer, [this](int64_t parameters) {
                          done_ += parameters;
                          return on_progress_({.phase = QuantizeProgress::Phase::kEncode,
                                               .done = done_,
                                               .total = plan_.parameters});
                        }};
    for (size_t i = shard.begin; i < shard.end; ++i) {
      INHOUSE_RETURN_IF_ERROR(WriteTensor(job, i));
    }
    return writer->Finish();
  }

  absl::Status WriteTensor(const EncodeJob& job, size_t index) {
    const PlannedTensor& tensor = plan_.tensors[index];
    if (tensor.quantized() && options_.calibration) {
      INHOUSE_ASSIGN_OR_RETURN(const std::shared_ptr<const Moments> moments, MomentsOf(index));
      if (moments != nullptr) return EncodeGptq(job, kernels_, tensor, *moments);
    }
    return EncodeTensor(job, tensor);
  }

  // Reads the text once for as many tensors, from `index` on, as the memory for moments allows.
  // Null for a tensor that no product of the model uses.
  absl::StatusOr<std::shared_ptr<const Moments>> MomentsOf(size_t index) {
    const std::string& wanted = plan_.tensors[index].source->stored->name;
    if (calibrator_ == nullptr) {
      INHOUSE_ASSIGN_OR_RETURN(
          calibrator_, Calibrator::Create(checkpoint_, kernels_, team_, *options_.calibration));
    }
    if (calibrator_->ColumnsOf(wanted) == 0) return std::shared_ptr<const Moments>();
    if (const auto found = moments_.find(wanted); found != moments_.end()) {
      std::shared_ptr<const Moments> out = std::move(found->second);
      moments_.erase(found);
      return out;
    }
    moments_.clear();
    std::set<std::string> names;
    int64_t bytes = 0;
    for (size_t i = index; i < plan_.tensors.size(); ++i) {
      if (!plan_.tensors[i].quantized()) continue;
      const std::string& name = plan_.tensors[i].source->stored->name;
      const int64_t columns = calibrator_->ColumnsOf(name);
      bytes += columns * columns * static_cast<int64_t>(sizeof(float));
      if (!names.empty() && bytes > options_.calibration->bytes_max) break;
      names.insert(name);
    }
    INHOUSE_ASSIGN_OR_RETURN(moments_, calibrator_->Run(names, [this](int64_t tokens) {
      return on_progress_({.phase = QuantizeProgress::Phase::kCalibrate,
                           .done = tokens,
                           .total = static_cast<int64_t>(options_.calibration->tokens.size())});
    }));
    return std::exchange(moments_[wanted], nullptr);
  }

  // config.json last: it makes the directory a model.
  absl::Status WriteSmallFiles() {
    for (const SideFile& file : options_.side_files) {
      INHOUSE_RETURN_IF_ERROR(base::ReplaceFile(directory_->PathOf(file.name), file.content));
    }
    INHOUSE_RETURN_IF_ERROR(WriteGenerationConfig());
    if (plan_.shards.size() > 1) {
      INHOUSE_RETURN_IF_ERROR(WriteJson("model.safetensors.index.json", ShardIndex(plan_)));
    }
    ordered_json config = source_->config();
    // transformers 5 says "dtype" where older ones said "torch_dtype".
    if (plan_.options.format == QuantFormat::kBF16) {
      config[config.contains("dtype") ? "dtype" : "torch_dtype"] = "bfloat16";
    }
    ordered_json quantization = QuantizationConfig(plan_);
    if (!quantization.is_null()) config["quantization_config"] = std::move(quantization);
    return WriteJson("config.json", config);
  }

  absl::Status WriteGenerationConfig() {
    if (checkpoint_.gguf) {
      INHOUSE_ASSIGN_OR_RETURN(const ordered_json generation,
                               GgufGenerationConfig(*checkpoint_.gguf));
      return WriteJson("generation_config.json", generation);
    }
    if (!checkpoint_.generation_config) return absl::OkStatus();
    INHOUSE_ASSIGN_OR_RETURN(const std::string text,
                             base::ReadFile(checkpoint_.generation_config->path()));
    return base::ReplaceFile(directory_->PathOf("generation_config.json"), text);
  }

  absl::Status WriteJson(std::string_view name, const ordered_json& json) const {
    return base::ReplaceFile(
        directory_->PathOf(name),
        json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  }

  QuantizeReport Report() const {
    QuantizeReport report;
    report.tensors = static_cast<int64_t>(plan_.tensors.size());
    for (const PlannedTensor& tensor : plan_.tensors) {
      report.source_bytes += tensor.source->stored_bytes();
      if (tensor.quantized()) {
        ++report.quantized_tensors;
      } else if (tensor.source->is_matrix()) {
        report.kept.push_back(tensor.source->name);
      }
    }
    report.parameters = plan_.parameters;
    report.quantized_parameters = plan_.quantized_parameters;
    report.output_bytes = plan_.output_bytes;
    report.quantized_bytes = plan_.quantized_bytes;
    report.shards = static_cast<int64_t>(plan_.shards.size());
    report.shards_kept = kept_;
    return report;
  }

  const Checkpoint& checkpoint_;
  const QuantizeOptions& options_;
  const KernelTable& kernels_;
  base::ThreadTeam& team_;
  const std::function<bool(const QuantizeProgress&)>& on_progress_;
  std::unique_ptr<Source> source_;
  QuantPlan plan_;
  std::string key_;
  std::unique_ptr<OutputDirectory> directory_;
  std::unique_ptr<Calibrator> calibrator_;
  Calibrator::Result moments_;
  int64_t done_ = 0;  // parameters
  int64_t kept_ = 0;  // shards
};

}  // namespace

absl::StatusOr<QuantizeReport> Quantize(
    const Checkpoint& checkpoint, const QuantizeOptions& options, const KernelTable& kernels,
    base::ThreadTeam& team, const std::function<bool(const QuantizeProgress&)>& on_progress) {
  return Run(checkpoint, options, kernels, team, on_progress).Do();
}

}  // namespace inhouse::engine
