#include "engine/quantize/calibration.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "engine/cache/page_pool.h"
#include "engine/comm/communicator.h"
#include "engine/models/model.h"
#include "engine/ops/linear.h"
#include "engine/quantize/products.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Keeps the inputs of the products that are asked for until the step is over.
class InputRecorder final : public ProductObserver {
 public:
  struct Input {
    int64_t columns = 0;
    std::vector<float> rows = {};  // [window][columns]
    std::shared_ptr<Moments> moments = {};
  };

  explicit InputRecorder(int64_t window) : window_(window) {}

  // The products by the stored tensors that they consist of.
  void Learn(const Linear& linear) {
    for (const LinearPart& part : linear.parts()) {
      if (part.weight.tensors().empty()) continue;
      const std::string& name = part.weight.tensors().front()->name;
      by_name_[name] = &linear;
      columns_[name] = linear.in_features();
    }
  }

  int64_t ColumnsOf(const std::string& name) const {
    const auto found = columns_.find(name);
    return found == columns_.end() ? 0 : found->second;
  }

  void Watch(const std::set<std::string>& names) {
    inputs_.clear();
    for (const std::string& name : names) {
      const auto found = by_name_.find(name);
      if (found == by_name_.end()) continue;
      Input& input = inputs_[found->second];
      if (input.moments != nullptr) continue;
      input.columns = found->second->in_features();
      input.rows.resize(static_cast<size_t>(window_ * input.columns));
      input.moments = std::make_shared<Moments>();
      input.moments->columns = input.columns;
      input.moments->values.resize(static_cast<size_t>(input.columns * input.columns));
    }
  }

  void Observe(const base::TeamMember& member, const Linear& linear,
               const ProductInput& x) override {
    const auto found = inputs_.find(&linear);
    if (found == inputs_.end()) return;
    Input& input = found->second;
    const auto [begin, end] = member.Share(x.rows);
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(x.data + i * x.ld, input.columns, input.rows.data() + i * input.columns);
    }
  }

  // Adds the first `rows` rows of each input to its moments.
  void Collect(int64_t rows, const KernelTable& kernels, base::ThreadTeam& team) {
    for (auto& [linear, input] : inputs_) {
      std::vector<float> transposed(static_cast<size_t>(rows * input.columns));
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < input.columns; ++j) {
          transposed[static_cast<size_t>(j * rows + i)] =
              input.rows[static_cast<size_t>(i * input.columns + j)];
        }
      }
      const MatrixView view{transposed.data(), input.columns, rows};
      AddProduct(kernels, team, view, view, rows, 1.0F, input.moments->values.data(),
                 input.columns);
      input.moments->tokens += rows;
    }
  }

  Calibrator::Result Take(const std::set<std::string>& names) {
    Calibrator::Result result;
    for (const std::string& name : names) {
      const auto found = by_name_.find(name);
      if (found != by_name_.end()) result[name] = inputs_.at(found->second).moments;
    }
    inputs_.clear();
    return result;
  }

 private:
  int64_t window_;
  std::map<std::string, const Linear*> by_name_;
  std::map<std::string, int64_t> columns_;
  std::map<const Linear*, Input> inputs_;
};

class ModelCalibrator final : public Calibrator {
 public:
  ModelCalibrator(const KernelTable& kernels, base::ThreadTeam& team,
                  const CalibrationOptions& options, std::unique_ptr<Model> model)
      : kernels_(kernels),
        team_(team),
        options_(options),
        model_(std::move(model)),
        recorder_(options.window),
        pool_(model_->facts().page_bytes, (options.window + kPageTokens - 1) / kPageTokens) {
    for (const Linear* linear : model_->linears()) recorder_.Learn(*linear);
    model_->weights().Pack(team_, {});
    model_->Allocate(team_, {.rows = options_.window,
                             .logit_rows = 1,
                             .sequences = 1,
                             .context_tokens = options_.window});
    model_->set_observer(&recorder_);
    while (const std::optional<PageId> page = pool_.Allocate()) pages_.push_back(pool_.data(*page));
  }

  int64_t ColumnsOf(const std::string& stored_name) const override {
    return recorder_.ColumnsOf(stored_name);
  }

  absl::StatusOr<Result> Run(const std::set<std::string>& stored_names,
                             const std::function<bool(int64_t)>& on_tokens) override {
    recorder_.Watch(stored_names);
    const auto total = static_cast<int64_t>(options_.tokens.size());
    for (int64_t begin = 0; begin < total; begin += options_.window) {
      if (!on_tokens(begin)) return absl::CancelledError("interrupted");
      const int64_t rows = std::min(options_.window, total - begin);
      StepPlan plan;
      plan.tokens.assign(options_.tokens.begin() + begin, options_.tokens.begin() + begin + rows);
      plan.sequences = {{.pages = pages_, .position = 0, .tokens = rows, .row = 0}};
      model_->Forward(team_, comm_, plan);
      recorder_.Collect(rows, kernels_, team_);
    }
    return recorder_.Take(stored_names);
  }

 private:
  const KernelTable& kernels_;
  base::ThreadTeam& team_;
  const CalibrationOptions& options_;
  std::unique_ptr<Model> model_;
  InputRecorder recorder_;
  PagePool pool_;
  std::vector<std::byte*> pages_;
  SingleProcess comm_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Calibrator>> Calibrator::Create(const Checkpoint& checkpoint,
                                                               const KernelTable& kernels,
                                                               base::ThreadTeam& team,
                                                               const CalibrationOptions& options) {
  INHOUSE_ASSIGN_OR_RETURN(std::unique_ptr<Model> model,
                           Model::Bind(checkpoint, {.kernels = &kernels}));
  for (const int32_t token : options.tokens) {
    if (token < 0 || token >= model->facts().vocab_size) {
      return base::InvalidInput(
          {.file = checkpoint.path,
           .field = "calibration token",
           .value = fmt::format("{}", token),
           .expected = fmt::format("below the vocabulary's {}", model->facts().vocab_size)});
    }
  }
  return std::make_unique<ModelCalibrator>(kernels, team, options, std::move(model));
}

}  // namespace inhouse::engine
