// How the ranks of one model talk to each other. One process today; MPI ranks implement the same
// interface.
#pragma once

#include <span>

namespace inhouse::engine {

// Collective: every rank calls the same operations in the same order, from its thread 0. An
// operation returns when the result is there on this rank. Failures of the transport end the group;
// they are reported where the communicator was made.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // values := sum over ranks, in rank order (the same bits on every rank).
  virtual void AllReduceSum(std::span<float> values) = 0;
};

// One process: rank 0 of 1.
class SingleProcess final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduceSum(std::span<float> values) override;
};

}  // namespace inhouse::engine
