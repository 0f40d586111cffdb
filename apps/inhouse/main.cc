// The binary: finds the verb, parses its flags, installs the signal handlers.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "apps/inhouse/verb.h"
#include "base/log.h"

namespace inhouse::apps {
namespace {

volatile std::sig_atomic_t interrupts = 0;

void OnSignal(int signal) {
  // The second Ctrl-C ends the process at once, whatever it is doing.
  if (interrupts > 0) std::_Exit(128 + signal);
  interrupts = 1;
}

volatile std::sig_atomic_t hangups = 0;
bool had_terminal = false;

bool HasTerminal() {
  const int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

void OnHangup(int) { hangups = 1; }

void InstallSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;  // no SA_RESTART: a blocking read returns, so that the verb notices
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;  // a closed pipe is an error of write(), not the end of the process
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);  // so is a file that may not grow
}

constexpr Verb kVerbs[] = {
    {"pull", "bring a model into the local store",
     "inhouse pull smollm2-135m-instruct\n"
     "inhouse pull deepseek-ai/DeepSeek-R1-Distill-Qwen-7B\n"
     "inhouse pull modelscope:Qwen/Qwen3-8B --jobs 8\n"
     "inhouse pull unsloth/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf --name qwen3-4b\n"
     "inhouse pull --from /mnt/usb/DeepSeek-V3.1 --name deepseek-v3.1",
     SetUpPull},
    {"models", "list, verify or remove the models of the local store",
     "inhouse models\ninhouse models verify smollm2-135m-instruct\n"
     "inhouse models path smollm2-135m-instruct\ninhouse models rm smollm2-135m-instruct",
     SetUpModels},
    {"doctor", "what this machine can do, what would be slow, and what to do about it",
     "inhouse doctor\ninhouse doctor --json", SetUpDoctor},
    {"generate", "answer one prompt",
     "inhouse generate -m smollm2-135m-instruct --chat -p \"What is the capital of France?\"\n"
     "inhouse generate -m ./model --prompt-file story.txt -n 200 --temperature 0.7 --seed 1\n"
     "inhouse generate -m ./model --ids 1,2,3 --temperature 0 --json\n"
     "inhouse generate -m ./model --adapter ./my-adapter -p \"Dear Sir\"",
     SetUpGenerate},
    {"chat", "hold a conversation in the terminal",
     "inhouse chat -m smollm2-135m-instruct\n"
     "inhouse chat -m ./DeepSeek-R1-Distill-Qwen-7B --system \"Answer in Chinese.\"",
     SetUpChat},
    {"keys", "who may call the server",
     "inhouse keys create --name alice\n"
     "inhouse keys create --name batch-job --role user --model deepseek-r1 --allow 10.2.0.0/16 \\\n"
     "    --tokens-per-day 2000000 --expires-in 90d\n"
     "inhouse keys create --name prometheus --role monitor --json\n"
     "inhouse keys list\n"
     "inhouse keys rotate alice --grace 7d\n"
     "inhouse keys revoke alice",
     SetUpKeys},
    {"config", "check inhouse.toml before a server reads it",
     "inhouse config check /etc/inhouse/inhouse.toml\n"
     "inhouse config check inhouse.toml --json\n"
     "inhouse config show inhouse.toml",
     SetUpConfig},
    {"firewall", "the address lists as rules of the kernel's packet filter",
     "inhouse firewall --config /etc/inhouse/inhouse.toml > /etc/nftables.d/inhouse.nft\n"
     "inhouse firewall --nftables --port 8080 --allow 10.0.0.0/8 --deny 10.66.0.0/16 | nft -f -\n"
     "inhouse firewall --iptables --config inhouse.toml | sh",
     SetUpFirewall},
    {"serve", "an OpenAI-compatible server",
     "inhouse serve -m smollm2-135m-instruct\n"
     "inhouse serve -m ./DeepSeek-R1-Distill-Qwen-7B --host 0.0.0.0 --port 8000 --served-name "
     "deepseek-r1 --keys keys.toml --allow 10.0.0.0/8\n"
     "inhouse serve -m ./model --port 0 --max-sequences 8 --queue 64 --drain-seconds 60\n"
     "inhouse serve -m ./model --adapter sql=./adapters/sql --adapter-root ./adapters",
     SetUpServe},
    {"swap", "let another model take over in a running server, or the previous one again",
     "inhouse swap deepseek-r1-7b@3f2a\n"
     "inhouse swap deepseek-r1-7b --keep-previous --server https://llm.example.org --key-file "
     "admin.key\n"
     "inhouse swap --rollback\n"
     "inhouse swap --status --json",
     SetUpSwap},
    {"replay", "run a recorded answer again, and compare it byte for byte",
     "inhouse replay chatcmpl-0d00e4478fda384af4db16d5 --record /var/lib/inhouse/record\n"
     "inhouse replay my-request-7 --record ./record -m ./model --json",
     SetUpReplay},
    {"inspect", "what is in a checkpoint, and whether it fits this machine",
     "inhouse inspect -m ./model\ninhouse inspect -m model.gguf --tensors\n"
     "inhouse inspect -m ./model --context 32768 --json",
     SetUpInspect},
    {"pack", "save a model's weights as the kernels read them, for an instant start",
     "inhouse pack -m smollm2-135m-instruct\n"
     "inhouse pack -m ./model --out /fast-disk/model.inhouse-pack\n"
     "inhouse pack -m ./model --verify",
     SetUpPack},
    {"quantize", "a model in fewer bytes: FP8, INT8 or INT4",
     "inhouse quantize -m ./DeepSeek-R1-Distill-Qwen-7B --to fp8 --out ./r1-7b-fp8\n"
     "inhouse quantize -m ./model --to int4 --calibrate tickets.txt --out ./model-int4\n"
     "inhouse quantize -m smollm2-135m-instruct --to bf16 --out ./smollm2-bf16",
     SetUpQuantize},
    {"compare", "what a smaller model costs in accuracy, and brings in size and speed",
     "inhouse compare ./model ./model-fp8\n"
     "inhouse compare ./model ./model-int4 --text tickets.txt --tokens 20000 --json\n"
     "inhouse compare ./model-int8 ./model-int8 --activation-bits-b 8",
     SetUpCompare},
    {"bench", "speed of prefill and decode, against the limits of this machine",
     "inhouse bench -m smollm2-135m-instruct\n"
     "inhouse bench -m ./model --prompt-tokens 512 --generate-tokens 128 --batch 1,16 --json\n"
     "inhouse bench -m ./model --batch 1,2,4,8,16,32 --depth 0,1024,4096,16384 --kernels",
     SetUpBench},
    {"logits", "the raw distribution after a prompt, as JSON",
     "inhouse logits -m ./model --ids 1,2,3\ninhouse logits -m ./model --ids-file ids.json --all "
     "--chunk 7",
     SetUpLogits},
    {"completion", "a completion script for bash, zsh or fish",
     "source <(inhouse completion bash)\n"
     "inhouse completion zsh > ~/.zfunc/_inhouse\n"
     "inhouse completion fish > ~/.config/fish/completions/inhouse.fish",
     SetUpCompletion},
    {"tokenize", "text to token ids",
     "inhouse tokenize -m smollm2-135m-instruct \"Hello, world\"\n"
     "inhouse tokenize -m ./model --pieces < page.txt\n"
     "inhouse tokenize -m ./model --jsonl < texts.jsonl > ids.jsonl",
     SetUpTokenize},
    {"detokenize", "token ids to text",
     "inhouse detokenize -m smollm2-135m-instruct 19556,28,905\n"
     "inhouse detokenize -m ./model --jsonl < ids.jsonl > texts.jsonl",
     SetUpDetokenize},
    {"render", "a conversation as the prompt that the model sees",
     "inhouse render -m smollm2-135m-instruct < conversation.json\n"
     "inhouse render --format deepseek-v3.1 --jsonl < conversations.jsonl > prompts.jsonl\n"
     "inhouse render --template chat_template.jinja --json < conversation.json",
     SetUpRender},
    {"parse", "a raw completion as reasoning, content and tool calls",
     "inhouse parse -m ./DeepSeek-R1-Distill-Qwen-7B < completion.json\n"
     "inhouse parse --format qwen3 --jsonl < completions.jsonl > answers.jsonl",
     SetUpParse},
    {"version", "version, build and CPU features", "inhouse version\ninhouse version --json",
     SetUpVersion},
};

// A library may throw where nobody expects it: fmt::print does when the reader of a pipe has left.
int Run(const VerbRun& run) {
  try {
    return run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inhouse: %s\n", error.what());
    return kFailed;
  }
}

int Main(int argc, char** argv) {
  InstallSignalHandlers();
  CLI::App app("inhouse: run DeepSeek models on hardware that you own", "inhouse");
  app.require_subcommand(1);
  app.fallthrough(false);
  std::string log_level = "info";
  app.add_option("--log-level", log_level, "trace, debug, info, warn, error or off")
      ->envname("INHOUSE_LOG_LEVEL");
  std::vector<std::pair<CLI::App*, VerbRun>> verbs;
  for (const Verb& verb : kVerbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.summary);
    sub->footer(std::string("Examples:\n  ") +
                CLI::detail::find_and_replace(verb.examples, "\n", "\n  "));
    verbs.emplace_back(sub, verb.set_up(*sub));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kDone : kUsage;
  }
  base::InitLog(log_level);
  for (const auto& [sub, run] : verbs) {
    if (sub->parsed()) return Run(run);
  }
  return kUsage;
}

}  // namespace

bool Interrupted() { return interrupts > 0; }
void ClearInterrupt() { interrupts = 0; }

void CatchHangups() {
  had_terminal = HasTerminal();
  struct sigaction action = {};
  action.sa_handler = OnHangup;
  struct sigaction before = {};
  sigaction(SIGHUP, &action, &before);
  if (before.sa_handler == SIG_IGN) had_terminal = false;  // nohup: it is to outlive the terminal
}

bool TakeHangup() {
  if (hangups == 0) return false;
  hangups = 0;
  if (!had_terminal || HasTerminal()) return true;
  // The terminal was closed: that is the end, as for every other program.
  interrupts = 1;
  return false;
}

}  // namespace inhouse::apps

int main(int argc, char** argv) { return inhouse::apps::Main(argc, argv); }
