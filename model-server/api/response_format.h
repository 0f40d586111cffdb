// response_format, and vLLM's structured_outputs: JSON -> grammar.
#pragma once

#include "engine/sampling/grammar/grammar_spec.h"
#include "model-server/api/fields.h"

namespace inhouse::model_server {

// Reads whichever of them is there into `out`; several that ask for different things are an error.
// Whether a schema can be carried out is the engine's question.
void ReadGrammar(Fields* fields, engine::GrammarSpec* out);

}  // namespace inhouse::model_server
