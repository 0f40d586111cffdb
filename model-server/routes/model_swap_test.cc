#include "model-server/routes/model_swap.h"

#include "absl/synchronization/notification.h"
#include "model-server/routes/app_fixture.h"

namespace inhouse::model_server {
namespace {

// Every model is a scripted engine that says its own name; "broken" cannot be loaded, "huge" does
// not fit, "nowhere" is not found.
class ScriptedLoader : public ModelLoader {
 public:
  absl::StatusOr<engine::EngineOptions> Plan(const Wanted& wanted) override {
    if (wanted.model == "huge") return absl::ResourceExhaustedError("memory: 9 of 1");
    if (wanted.model == "nowhere") return absl::NotFoundError("model: nowhere");
    engine::EngineOptions options = wanted.options;
    options.model = wanted.model;
    return options;
  }
  absl::StatusOr<std::unique_ptr<engine::Engine>> Load(
      const engine::EngineOptions& options, const engine::Engine::Progress& progress) override {
    absl::MutexLock lock(&mutex_);
    last_ = options;
    loading_ = true;
    while (held_) {
      mutex_.AwaitWithTimeout(absl::Condition(
                                  +[](bool* held) { return !*held; }, &held_),
                              absl::Milliseconds(5));
      if (!progress(1, 2)) return absl::CancelledError("given up");
    }
    if (options.model == "broken") return absl::InvalidArgumentError("broken: no such tensor");
    auto engine = std::make_unique<ScriptedEngine>(ScriptedEngine::Script{.answer = options.model});
    if (refuses_adapters_ && !options.adapters.empty()) return absl::NotFoundError("adapter");
    for (const engine::AdapterSource& source : options.adapters) {
      if (!engine->LoadAdapter(source, false).ok()) return absl::InternalError("adapter");
    }
    return engine;
  }
  void Hold() {
    absl::MutexLock lock(&mutex_);
    held_ = true;
    loading_ = false;
  }
  void Release() {
    absl::MutexLock lock(&mutex_);
    held_ = false;
  }
  void RefuseAdapters() {
    absl::MutexLock lock(&mutex_);
    refuses_adapters_ = true;
  }
  void AwaitLoading() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&loading_));
  }
  engine::EngineOptions last() {
    absl::MutexLock lock(&mutex_);
    return last_;
  }

 private:
  absl::Mutex mutex_;
  bool held_ = false;
  bool loading_ = false;
  bool refuses_adapters_ = false;
  engine::EngineOptions last_;
};

class SwapTest : public AppTest {
 protected:
  void Begin(const ScriptedEngine::Script& script = {.answer = "first"}) {
    Start(script, {.served_names = {"scripted"}, .adapter_root = "/adapters"});
    app_->swap().SetLoader(loader_);
  }
  Reply Swap(const std::string& model, const std::string& more = "") {
    return Call("POST", "/admin/model/swap", R"({"model":")" + model + "\"" + more + "}");
  }
  Reply RollBack() { return Call("POST", "/admin/model/rollback"); }
  json State() { return Call("GET", "/admin/model").Json(); }
  // Waits until the last swap has ended, and says how.
  std::string End() {
    while (true) {
      const json swap = State()["swap"];
      if (swap["status"] == "done" || swap["status"] == "failed") return swap["status"];
    }
  }
  std::string Answer() {
    const Reply reply = Chat();
    if (reply.status != 200) return std::to_string(reply.status);
    return reply.Json()["choices"][0]["message"]["content"];
  }
  void AwaitResident(size_t count) {
    while (State()["finishing"].size() != count) {
    }
  }

  std::shared_ptr<ScriptedLoader> loader_ = std::make_shared<ScriptedLoader>();
};

TEST_F(SwapTest, WhatHasBegunEndsWhereItBegan) {
  Begin({.answer = "first", .hold = true});
  TestClient early(server_->port());
  early.Send(Http("POST", "/v1/chat/completions", ChatBody(R"(,"stream":true)")));
  ASSERT_TRUE(engine_->AwaitInFlight(1));
  const Reply swap = Swap("second");
  EXPECT_EQ(swap.status, 202) << swap.body;
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Call("GET", "/readyz").status, 200);
  EXPECT_EQ(Answer(), "second");
  const json state = State();
  EXPECT_EQ(state["serving"]["model"], "second");
  EXPECT_EQ(state["names"], json::array({"scripted"}));
  ASSERT_EQ(state["finishing"].size(), 1U);
  const std::string before = state["finishing"][0]["system_fingerprint"];
  engine_->Release();
  std::string text;
  std::string fingerprint;
  for (const json& event : Events(Parse(early.ReadAll()).body)) {
    if (event["choices"][0]["delta"].contains("content")) {
      text += event["choices"][0]["delta"]["content"];
    }
    fingerprint = event["system_fingerprint"];
  }
  EXPECT_EQ(text, "first");
  EXPECT_EQ(fingerprint, before);
  AwaitResident(0);  // the old engine is freed
  EXPECT_NE(Call("GET", "/metrics").body.find("inhouse_model_swaps_total{outcome=\"done\"} 1"),
            std::string::npos);
}

TEST_F(SwapTest, OneAtATime) {
  Begin();
  loader_->Hold();
  EXPECT_EQ(Swap("second").status, 202);
  loader_->AwaitLoading();
  const Reply other = Swap("third");
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(other.Code(), "swap_in_progress");
  EXPECT_EQ(RollBack().status, 409);
  EXPECT_EQ(Answer(), "first");
  EXPECT_EQ(State()["swap"]["status"], "loading");
  loader_->Release();
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Answer(), "second");
}

TEST_F(SwapTest, WhatCannotBeLoadedChangesNothing) {
  Begin();
  EXPECT_EQ(Swap("broken").status, 202);
  EXPECT_EQ(End(), "failed");
  EXPECT_EQ(State()["swap"]["error"], "broken: no such tensor");
  EXPECT_EQ(Answer(), "first");
  EXPECT_EQ(Swap("huge").status, 409);
  EXPECT_EQ(Swap("huge").Code(), "insufficient_memory");
  EXPECT_EQ(Swap("nowhere").status, 404);
  EXPECT_EQ(Swap("").status, 400);
  EXPECT_EQ(Swap("x", R"(,"wait_seconds":-1)").status, 400);
  EXPECT_EQ(Swap("x", R"(,"unload_first":true,"keep_previous":true)").status, 400);
  EXPECT_EQ(RollBack().Code(), "no_previous_model");
  EXPECT_EQ(Answer(), "first");
}

TEST_F(SwapTest, BackAtOnceWhereThePreviousIsKept) {
  Begin();
  EXPECT_EQ(Swap("second", R"(,"keep_previous":true)").status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(State()["previous"]["resident"], true);
  EXPECT_EQ(RollBack().status, 200);
  EXPECT_EQ(Answer(), "first");
  EXPECT_EQ(RollBack().status, 200);  // and forth
  EXPECT_EQ(Answer(), "second");
  // A third model takes the place of the one that was kept.
  EXPECT_EQ(Swap("third").status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(State()["previous"]["resident"], false);
  EXPECT_EQ(RollBack().status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Answer(), "second");
}

TEST_F(SwapTest, UnloadFirstWaitsForWhatHasBegun) {
  Begin({.answer = "first", .hold = true});
  TestClient early(server_->port());
  early.Send(Http("POST", "/v1/chat/completions", ChatBody()));
  ASSERT_TRUE(engine_->AwaitInFlight(1));
  EXPECT_EQ(Swap("second", R"(,"unload_first":true)").status, 202);
  while (Call("GET", "/readyz").status != 503) {
  }
  EXPECT_EQ(Answer(), "503");
  EXPECT_EQ(Call("GET", "/v1/models").status, 503);
  EXPECT_EQ(Call("GET", "/metrics").status, 200);
  engine_->Release();
  EXPECT_EQ(Parse(early.ReadAll()).Json()["choices"][0]["message"]["content"], "first");
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Call("GET", "/readyz").status, 200);
  EXPECT_EQ(Answer(), "second");
}

TEST_F(SwapTest, UnloadFirstGivesUpWhereAnswersDoNotEnd) {
  Begin({.answer = "first", .hold = true});
  TestClient early(server_->port());
  early.Send(Http("POST", "/v1/chat/completions", ChatBody()));
  ASSERT_TRUE(engine_->AwaitInFlight(1));
  EXPECT_EQ(Swap("second", R"(,"unload_first":true,"wait_seconds":0)").status, 202);
  EXPECT_EQ(End(), "failed");
  EXPECT_EQ(Call("GET", "/readyz").status, 200);
  engine_->Release();
  EXPECT_EQ(Parse(early.ReadAll()).status, 200);
  EXPECT_EQ(Answer(), "first");
}

TEST_F(SwapTest, WhatMadeRoomInVainComesBack) {
  Begin();
  EXPECT_EQ(Swap("second").status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Swap("broken", R"(,"unload_first":true)").status, 202);
  EXPECT_EQ(End(), "failed");
  EXPECT_EQ(Answer(), "second");
}

TEST_F(SwapTest, AdaptersComeAlong) {
  Begin();
  const auto load = [this](const std::string& name) {
    return Call("POST", "/v1/load_lora_adapter",
                R"({"lora_name":")" + name + R"(","lora_path":"x"})")
        .status;
  };
  EXPECT_EQ(load("a"), 200);
  EXPECT_EQ(Swap("second", R"(,"keep_previous":true)").status, 202);
  EXPECT_EQ(End(), "done");
  ASSERT_EQ(loader_->last().adapters.size(), 1U);
  EXPECT_EQ(loader_->last().adapters[0].path, "/adapters/x");
  EXPECT_EQ(Call("GET", "/v1/models/scripted:a").status, 200);
  EXPECT_EQ(Call("POST", "/v1/unload_lora_adapter", R"({"lora_name":"a"})").status, 200);
  EXPECT_EQ(load("b"), 200);
  EXPECT_EQ(RollBack().status, 200);
  EXPECT_EQ(Call("GET", "/v1/models/scripted:a").status, 404);
  EXPECT_EQ(Call("GET", "/v1/models/scripted:b").status, 200);
}

// "second" takes an adapter of which "first", loaded again, will hear nothing.
TEST_F(SwapTest, AdaptersDoNotKeepARollbackFromHappening) {
  Begin();
  EXPECT_EQ(Swap("second").status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Call("POST", "/v1/load_lora_adapter", R"({"lora_name":"a","lora_path":"x"})").status,
            200);
  loader_->RefuseAdapters();
  EXPECT_EQ(Swap("third").status, 202);
  EXPECT_EQ(End(), "failed");
  EXPECT_EQ(Answer(), "second");
  EXPECT_EQ(RollBack().status, 202);
  EXPECT_EQ(End(), "done");
  EXPECT_EQ(Answer(), "scripted");
}

TEST_F(SwapTest, DrainGivesTheLoadUp) {
  Begin();
  loader_->Hold();
  EXPECT_EQ(Swap("second").status, 202);
  loader_->AwaitLoading();
  app_->Drain(0);
  EXPECT_EQ(End(), "failed");
  EXPECT_EQ(State()["serving"]["model"], "scripted");
  EXPECT_EQ(Swap("second").status, 503);
  EXPECT_EQ(Answer(), "503");
}

}  // namespace
}  // namespace inhouse::model_server
