#include <cstdio>
#include <memory>

#include "apps/inhouse/verb.h"
#include "base/build_id.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {

VerbRun SetUpVersion(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "print a JSON object");
  return [json] {
    if (*json) {
      const nlohmann::ordered_json out = {{"version", INHOUSE_VERSION},
                                          {"commit", INHOUSE_COMMIT},
                                          {"build", base::BuildId()},
                                          {"compiler", __VERSION__}};
      std::printf("%s\n", out.dump().c_str());
    } else {
      std::printf("inhouse %s (%s), compiler %s\n", INHOUSE_VERSION, INHOUSE_COMMIT, __VERSION__);
    }
    return int{kDone};
  };
}

}  // namespace inhouse::apps
