// How an application answers: a handler is a function from a Request and a ResponseWriter.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "model-server/http/message.h"

namespace inhouse::model_server {

// The io thread, for those who live on it. Both methods may be called from any thread; functions
// run on the io thread in the order of Post.
class Loop {
 public:
  virtual ~Loop() = default;
  virtual void Post(std::function<void()> work) = 0;
  virtual void PostAfter(std::chrono::milliseconds delay, std::function<void()> work) = 0;
};

// One answer: either Send, or StartStream, Write..., End. Lives on the io thread: every method must
// be called there. A writer that is dropped without an answer sends a 500, one that is dropped in
// the middle of a stream closes the connection. After the client has gone, calls do nothing. The
// last reference may be dropped on any thread, but before the server is destroyed.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  virtual void Send(Response response) = 0;

  // Chunked transfer; the body of `head` is the first piece.
  virtual void StartStream(Response head) = 0;
  // False if the client has gone or reads too slowly to be served (the connection is then closed):
  // stop producing.
  virtual bool Write(std::string piece) = 0;
  virtual void End() = 0;

  // Whether the client has gone. `work` runs once, on the io thread, when it goes before the end of
  // the answer.
  virtual bool closed() const = 0;
  virtual void OnClosed(std::function<void()> work) = 0;
};

// Called on the io thread; must return in well under a millisecond and do long work elsewhere.
using Handler =
    std::function<void(std::shared_ptr<const Request>, std::shared_ptr<ResponseWriter>)>;

// Called on the io thread when a header is complete and a body follows: true if the handler will
// refuse the request whatever its body is. The handler then gets it without one, and what the
// client sends of it is thrown away.
using HeadCheck = std::function<bool(const Request& head)>;

// The body of an answer that the connection itself gives (400, 408, 413, 431, 503).
using ErrorBody = std::function<std::string(int status, const std::string& message)>;

}  // namespace inhouse::model_server
