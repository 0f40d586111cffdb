#include "model-server/routes/random_id.h"

#include <random>

#include "fmt/format.h"

namespace inhouse::model_server {

std::string RandomId() {
  thread_local std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

}  // namespace inhouse::model_server
