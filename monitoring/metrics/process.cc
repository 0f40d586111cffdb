#include "monitoring/metrics/process.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

namespace inhouse::monitoring {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

int64_t CountOpenFiles() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int64_t count = -3;  // ".", ".." and the directory itself
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

}  // namespace

ProcessFacts ReadProcessFacts() {
  ProcessFacts facts;
  if (FILE* file = std::fopen("/proc/self/statm", "r"); file != nullptr) {
    long size = 0;
    long resident = 0;
    if (std::fscanf(file, "%ld %ld", &size, &resident) == 2) {
      const long page = sysconf(_SC_PAGESIZE);
      facts.virtual_bytes = int64_t{size} * page;
      facts.resident_bytes = int64_t{resident} * page;
    }
    std::fclose(file);
  }
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    facts.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
  facts.open_files = CountOpenFiles();
  return facts;
}

}  // namespace inhouse::monitoring
