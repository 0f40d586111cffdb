// What Abseil's mutex orders, told to ThreadSanitizer. Debian's libabsl is not instrumented, so the
// sanitizer sees no order in it and reports everything that a mutex protects. These definitions
// stand before the library's: each calls the library's and says what it means.
//
// A wait gives the mutex up and takes it again. Meanwhile its condition is evaluated by whoever
// holds the mutex, often the thread that unlocks it.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);  // NOLINT: the sanitizer's own interface
void __tsan_release(void* address);  // NOLINT

// The library looks for deadlocks in a graph of its own, under a lock of its own.
const char* __tsan_default_suppressions() {  // NOLINT
  return "called_from_lib:libabsl_graphcycles_internal\n";
}
}

namespace {

// The library's function of that name, whose first argument is `this`.
template <typename Function>
Function* Real(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "libabsl has no %s: tests/sanitizers knows another version\n", name);
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

// A condition that is evaluated under its mutex.
struct Ordered {
  absl::Mutex* mutex;
  const absl::Condition* condition;
  bool Met() const {
    __tsan_acquire(mutex);
    const bool met = condition->Eval();
    __tsan_release(mutex);
    return met;
  }
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  real(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  real(this);
}

void Mutex::Await(const Condition& condition) {
  static auto* const real =
      Real<void(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE");
  const Ordered ordered{this, &condition};
  const Condition wrapped(&ordered, &Ordered::Met);
  __tsan_release(this);
  real(this, wrapped);
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static auto* const real = Real<bool(Mutex*, const Condition&, Duration)>(
      "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  const Ordered ordered{this, &condition};
  const Condition wrapped(&ordered, &Ordered::Met);
  __tsan_release(this);
  const bool met = real(this, wrapped, timeout);
  __tsan_acquire(this);
  return met;
}

void Notification::Notify() {
  static auto* const real = Real<void(Notification*)>("_ZN4absl7debian312Notification6NotifyEv");
  __tsan_release(this);
  real(this);
}

void Notification::WaitForNotification() const {
  static auto* const real =
      Real<void(const Notification*)>("_ZNK4absl7debian312Notification19WaitForNotificationEv");
  real(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static auto* const real = Real<bool(const Notification*, Duration)>(
      "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
  const bool told = real(this, timeout);
  __tsan_acquire(const_cast<Notification*>(this));
  return told;
}

ABSL_NAMESPACE_END
}  // namespace absl
