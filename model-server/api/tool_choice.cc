#include "model-server/api/tool_choice.h"

#include <string>
#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

constexpr size_t kToolsMax = 128;
constexpr size_t kNameBytesMax = 64;

bool IsName(const Json& name) {
  if (!name.is_string()) return false;
  const auto& text = name.get_ref<const std::string&>();
  // Names stand in the model's own syntax between markers: a line break or a '<' would end them.
  return !text.empty() && text.size() <= kNameBytesMax &&
         text.find_first_of("\n\r<\"\\") == text.npos;
}

// A tool of the form that OpenAI defines.
bool CheckTool(const Json& tool, const std::string& path, Fields* fields) {
  const auto fail = [&](const std::string& param, const std::string& expected) {
    fields->Fail(InvalidRequest(param, "invalid_value",
                                fmt::format("Invalid '{}': expected {}.", param, expected)));
    return false;
  };
  if (!tool.is_object()) return fail(path, "an object");
  if (tool.value("type", Json("function")) != "function") return fail(path + ".type", "'function'");
  const auto function = tool.find("function");
  if (function == tool.end() || !function->is_object())
    return fail(path + ".function", "an object");
  if (!IsName(function->value("name", Json()))) {
    return fail(path + ".function.name",
                fmt::format("a string of 1 to {} bytes without quotes, backslashes, '<' and line "
                            "breaks",
                            kNameBytesMax));
  }
  const Json parameters = function->value("parameters", Json());
  if (!parameters.is_null() && !parameters.is_object()) {
    return fail(path + ".function.parameters", "a JSON Schema: an object");
  }
  return true;
}

const Json* FindTool(const Json& tools, const Json& name) {
  for (const Json& tool : tools) {
    if (tool["function"]["name"] == name) return &tool;
  }
  return nullptr;
}

Json NameOf(const Json& choice) {
  if (!choice.is_object()) return nullptr;
  const auto function = choice.find("function");
  if (function != choice.end() && function->is_object()) return function->value("name", Json());
  return choice.value("name", Json());
}

void Fail(Fields* fields, const std::string& param, const std::string& why) {
  fields->Fail(
      InvalidRequest(param, "invalid_value", fmt::format("Invalid '{}': {}.", param, why)));
}

void ReadAllowed(const Json& choice, Fields* fields, ToolChoice* out) {
  const Json allowed = choice.value("allowed_tools", Json());
  if (!allowed.is_object() || !allowed.value("tools", Json()).is_array()) {
    return Fail(fields, "tool_choice.allowed_tools", "expected an object with 'mode' and 'tools'");
  }
  const Json mode = allowed.value("mode", Json("auto"));
  if (mode != "auto" && mode != "required") {
    return Fail(fields, "tool_choice.allowed_tools.mode", "expected 'auto' or 'required'");
  }
  Json kept = Json::array();
  for (const Json& tool : out->offered) {
    for (const Json& one : allowed["tools"]) {
      if (NameOf(one) == tool["function"]["name"]) kept.push_back(tool);
    }
  }
  if (kept.empty() && mode == "required") {
    return Fail(fields, "tool_choice.allowed_tools.tools", "expected at least one of 'tools'");
  }
  if (mode == "required") out->forced = kept;
  out->offered = std::move(kept);
}

}  // namespace

void ReadToolChoice(Fields* fields, ToolChoice* out) {
  const Json* tools = fields->Find("tools");
  const Json* choice = fields->Find("tool_choice");
  if (tools != nullptr) {
    if (!tools->is_array()) return fields->FailType("tools", "an array of objects", *tools);
    if (tools->size() > kToolsMax) {
      return Fail(fields, "tools", fmt::format("expected at most {} tools", kToolsMax));
    }
    for (size_t i = 0; i < tools->size(); ++i) {
      if (!CheckTool((*tools)[i], fmt::format("tools[{}]", i), fields)) return;
    }
    if (!tools->empty()) out->offered = *tools;
  }
  if (choice == nullptr || *choice == "auto") return;
  if (*choice == "none") {
    out->offered = nullptr;
    return;
  }
  if (out->offered.is_null()) {
    return Fail(fields, "tool_choice", "it is only allowed when 'tools' are specified");
  }
  const Json type = choice->is_object() ? choice->value("type", Json()) : Json();
  if (*choice == "required") {
    out->forced = out->offered;
  } else if (type == "allowed_tools") {
    ReadAllowed(*choice, fields, out);
  } else if (type == "function") {
    const Json* tool = FindTool(out->offered, NameOf(*choice));
    if (tool == nullptr) {
      return Fail(fields, "tool_choice.function.name", "expected the name of one of 'tools'");
    }
    out->forced = Json::array({*tool});
    out->one_call = true;
  } else {
    return Fail(fields, "tool_choice",
                "expected 'none', 'auto', 'required', a function or 'allowed_tools'");
  }
  if (out->offered.is_array() && out->offered.empty()) out->offered = nullptr;
}

}  // namespace inhouse::model_server
