// Traces over the network: the only thing that a server sends of its own accord, and only where it
// was told to.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "monitoring/traces/settings.h"
#include "monitoring/traces/tracer.h"

namespace inhouse::apps {

// Null: nothing was told, nothing is sent. Says in the log where traces go.
absl::StatusOr<std::shared_ptr<monitoring::Tracer>> OpenTracer(
    const monitoring::TraceChoice& choice, const std::string& version);

}  // namespace inhouse::apps
