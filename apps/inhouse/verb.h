// The pattern of a verb: one file per verb, one row in the table of main.cc.
#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace inhouse::apps {

// What scripts rely on (docs/user-guide: exit codes).
enum ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2, kRefused = 3, kInterrupted = 130 };

// Runs the verb after its flags were parsed; returns the exit code.
using VerbRun = std::function<int()>;

struct Verb {
  const char* name;
  const char* summary;   // one line for `inhouse --help`
  const char* examples;  // the end of `inhouse VERB --help`, one command a line
  // Adds the verb's flags to `app` and returns what runs it; state lives in the closure.
  VerbRun (*set_up)(CLI::App& app);
};

// One clear message on stderr; with `json` also {"error":{"code","message","file","field"}} on
// stdout. Returns the exit code.
int ReportError(const absl::Status& status, bool json);

// Whether Ctrl-C or SIGTERM arrived since the start. Verbs that run long poll it and end with
// kInterrupted.
bool Interrupted();
// Forgets a Ctrl-C that was dealt with (it stopped an answer, not the conversation).
void ClearInterrupt();

// From here on SIGHUP does not end the process; TakeHangup says, once for each, that one arrived.
// (If it came because the terminal was closed, Interrupted() becomes true instead.)
void CatchHangups();
bool TakeHangup();

// Set-up functions of the verbs, in the order of the table.
VerbRun SetUpPull(CLI::App& app);
VerbRun SetUpModels(CLI::App& app);
VerbRun SetUpDoctor(CLI::App& app);
VerbRun SetUpGenerate(CLI::App& app);
VerbRun SetUpChat(CLI::App& app);
VerbRun SetUpKeys(CLI::App& app);
VerbRun SetUpConfig(CLI::App& app);
VerbRun SetUpFirewall(CLI::App& app);
VerbRun SetUpServe(CLI::App& app);
VerbRun SetUpSwap(CLI::App& app);
VerbRun SetUpReplay(CLI::App& app);
VerbRun SetUpInspect(CLI::App& app);
VerbRun SetUpPack(CLI::App& app);
VerbRun SetUpQuantize(CLI::App& app);
VerbRun SetUpCompare(CLI::App& app);
VerbRun SetUpBench(CLI::App& app);
VerbRun SetUpLogits(CLI::App& app);
VerbRun SetUpCompletion(CLI::App& app);
VerbRun SetUpTokenize(CLI::App& app);
VerbRun SetUpDetokenize(CLI::App& app);
VerbRun SetUpRender(CLI::App& app);
VerbRun SetUpParse(CLI::App& app);
VerbRun SetUpVersion(CLI::App& app);

}  // namespace inhouse::apps
