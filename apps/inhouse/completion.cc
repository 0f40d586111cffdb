// inhouse completion: scripts for shells, made from the verbs' own flags.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/inhouse/verb.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

// fmt::print would throw when the reader of a pipe has left.
template <typename... Args>
void Print(fmt::format_string<Args...> text, Args&&... args) {
  std::fputs(fmt::format(text, std::forward<Args>(args)...).c_str(), stdout);
}

struct Flag {
  std::vector<std::string> spellings;  // "-m", "--model"
  std::string about;
  bool takes_value;
};

struct Command {
  std::string name;
  std::string about;
  std::vector<Flag> flags;
  std::vector<Command> below;  // `models rm`
};

void AddFlags(const CLI::App& app, std::vector<Flag>* flags) {
  for (const CLI::Option* option : app.get_options()) {
    Flag flag{{}, option->get_description(), option->get_items_expected_max() > 0};
    for (const std::string& name : option->get_snames()) flag.spellings.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.spellings.push_back("--" + name);
    if (!flag.spellings.empty()) flags->push_back(std::move(flag));
  }
}

Command Describe(const CLI::App& app) {
  Command command{app.get_name(), app.get_description(), {}, {}};
  AddFlags(app, &command.flags);
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_name().empty()) {
      AddFlags(*sub, &command.flags);  // an option group
    } else {
      command.below.push_back(Describe(*sub));
    }
  }
  return command;
}

// Single quotes of a POSIX shell; a text of ours never needs more.
std::string Quote(const std::string& text) {
  return "'" + CLI::detail::find_and_replace(text, "'", "'\\''") + "'";
}

std::string WordsOf(const Command& command) {
  std::string words;
  for (const Command& sub : command.below) words += sub.name + " ";
  for (const Flag& flag : command.flags) {
    for (const std::string& spelling : flag.spellings) words += spelling + " ";
  }
  return words;
}

// Names in the local store: the first column below the heading.
constexpr const char* kModels = "inhouse models 2>/dev/null | awk 'NR > 1 { print $1 }'";

void PrintBash(const Command& root) {
  Print(
      "_inhouse() {{\n"
      "  local cur=${{COMP_WORDS[COMP_CWORD]}} words\n"
      "  COMPREPLY=()\n"
      "  case ${{COMP_WORDS[COMP_CWORD-1]}} in\n"
      "    -m|--model)\n"
      "      mapfile -t COMPREPLY < <(compgen -W \"$({})\" -- \"$cur\"; compgen -f -- \"$cur\")\n"
      "      return ;;\n"
      "  esac\n"
      "  case $COMP_CWORD:${{COMP_WORDS[1]}} in\n"
      "    1:*) words={} ;;\n",
      kModels, Quote(WordsOf(root)));
  for (const Command& verb : root.below) {
    Print("    *:{}) words={} ;;\n", verb.name, Quote(WordsOf(verb)));
  }
  Print(
      "  esac\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
      "}}\n"
      "complete -o default -F _inhouse inhouse\n");
}

// _arguments treats brackets and colons of a description as its own.
std::string ZshText(std::string text) {
  for (const char* special : {"[", "]", ":"}) {
    text = CLI::detail::find_and_replace(text, special, std::string("\\") + special);
  }
  return text;
}

void PrintZsh(const Command& root) {
  Print(
      "#compdef inhouse\n"
      "_inhouse_models() {{\n"
      "  local -a names=(${{(f)\"$({})\"}})\n"
      "  _alternative 'models:model:($names)' 'files:file:_files'\n"
      "}}\n"
      "_inhouse() {{\n"
      "  if (( CURRENT == 2 )); then\n"
      "    local -a verbs=(\n",
      kModels);
  for (const Command& verb : root.below) {
    Print("      {}\n", Quote(verb.name + ":" + ZshText(verb.about)));
  }
  Print(
      "    )\n"
      "    _describe verb verbs\n"
      "    return\n"
      "  fi\n"
      "  local verb=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $verb in\n");
  for (const Command& verb : root.below) {
    Print("    {}) _arguments", verb.name);
    for (const Flag& flag : verb.flags) {
      for (const std::string& spelling : flag.spellings) {
        const bool model = flag.spellings.back() == "--model";
        const char* value = !flag.takes_value ? ""
                            : model           ? ":model:_inhouse_models"
                                              : ":value:_files";
        Print(" \\\n      {}", Quote(spelling + "[" + ZshText(flag.about) + "]" + value));
      }
    }
    std::string subs;
    for (const Command& sub : verb.below) subs += " " + sub.name;
    Print(" \\\n      {} ;;\n",
          subs.empty() ? "'*:file:_files'" : Quote("1:command:(" + subs.substr(1) + ")"));
  }
  Print(
      "  esac\n"
      "}}\n"
      "compdef _inhouse inhouse\n");
}

void PrintFish(const Command& root) {
  for (const Command& verb : root.below) {
    Print("complete -c inhouse -f -n __fish_use_subcommand -a {} -d {}\n", verb.name,
          Quote(verb.about));
    const std::string seen = Quote("__fish_seen_subcommand_from " + verb.name);
    for (const Command& sub : verb.below) {
      Print("complete -c inhouse -n {} -a {} -d {}\n", seen, sub.name, Quote(sub.about));
    }
    for (const Flag& flag : verb.flags) {
      std::string names;
      for (const std::string& name : flag.spellings) {
        names += name[1] == '-' ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      const bool model = flag.spellings.back() == "--model";
      const std::string value = !flag.takes_value ? ""
                                : model ? " -r -a " + Quote(std::string("(") + kModels + ")")
                                        : " -r";
      Print("complete -c inhouse -n {}{}{} -d {}\n", seen, names, value, Quote(flag.about));
    }
  }
}

}  // namespace

VerbRun SetUpCompletion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [&app, shell] {
    const Command root = Describe(*app.get_parent());
    if (*shell == "bash") PrintBash(root);
    if (*shell == "zsh") PrintZsh(root);
    if (*shell == "fish") PrintFish(root);
    return int{kDone};
  };
}

}  // namespace inhouse::apps
