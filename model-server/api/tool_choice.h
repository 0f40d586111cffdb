// tools and tool_choice: JSON -> what is offered, and what must be called.
#pragma once

#include <cstdint>

#include "model-server/api/fields.h"

namespace inhouse::model_server {

struct ToolChoice {
  Json offered = nullptr;  // the tools that the template shows; null = none
  Json forced = nullptr;   // one or more of these must be called; null = the model decides
  bool one_call = false;   // a named tool is called once
};

void ReadToolChoice(Fields* fields, ToolChoice* out);

}  // namespace inhouse::model_server
