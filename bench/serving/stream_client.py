"""One streamed answer over a raw socket, for hundreds at a time beside the server that is measured.

HTTP libraries cost the client more processor time for each token than the server spends on it, and both share
the machine; so the chunks and the events are read by hand here, and nothing else is.
"""

import asyncio
import json
import time

_TEXT = (b'"content":"', b'"reasoning_content":"', b'"text":"')


class Answer:
    """What came of one call. Times are seconds of time.monotonic; an answer is whole when `error` is empty
    and `status` is 200."""

    __slots__ = ("sent", "head", "first", "last", "gaps", "status", "retry_after", "usage", "error", "comments", "text",
                 "events", "finish")

    def __init__(self):
        self.sent = self.head = self.first = self.last = None
        self.gaps, self.status, self.retry_after, self.usage = [], 0, None, {}
        self.error, self.comments, self.events, self.finish = "", 0, 0, ""
        self.text = None  # a list of pieces, where the caller wants them

    @property
    def whole(self):
        return self.status == 200 and not self.error

    @property
    def turned_away(self):
        """Honestly: too much to do, and when to come again."""
        return self.status in (429, 503) and self.retry_after is not None

    def failure(self):
        """Why it counts as one; "" if it does not."""
        if self.whole or self.turned_away:
            return ""
        if self.status in (429, 503):
            return f"{self.status} without Retry-After"
        return self.error or f"status {self.status}"


class _Stream(asyncio.Protocol):
    """Reads one response: the header, then chunks, then the events in them."""

    def __init__(self, request, answer, done):
        self.request, self.answer, self.done = request, answer, done
        self.buffer, self.body, self.chunked, self.length, self.ended = b"", b"", False, None, False

    def connection_made(self, transport):
        self.transport = transport
        self.answer.sent = time.monotonic()
        transport.write(self.request)

    def connection_lost(self, error):
        if not self.ended:
            self.finish(f"connection lost: {error or 'closed by the server'}")

    def finish(self, error=""):
        self.ended = True
        self.answer.error = self.answer.error or error
        if not self.done.done():
            self.done.set_result(None)
        self.transport.close()

    def data_received(self, data):
        if self.ended:
            return
        self.buffer += data
        if self.answer.head is None and not self.read_head():
            return
        now = time.monotonic()
        if not self.chunked:
            if len(self.buffer) >= (self.length or 0):
                self.finish("" if self.answer.status != 200 else "not a stream")
            return
        while not self.ended and self.read_chunk():
            pass
        if b"\n\n" in self.body:
            *events, self.body = self.body.split(b"\n\n")
            for event in events:
                self.on_event(event, now)
        if self.ended and self.answer.status == 200 and not self.answer.finish:
            self.answer.error = self.answer.error or "the stream ended without [DONE]"

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        self.buffer = self.buffer[end + 4:]
        self.answer.head = time.monotonic()
        self.answer.status = int(lines[0].split(" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        retry = fields.get("retry-after", "")
        self.answer.retry_after = int(retry) if retry.isdigit() else None
        self.chunked = fields.get("transfer-encoding") == "chunked"
        self.length = int(fields.get("content-length", 0))
        return True

    def read_chunk(self):
        """Moves one whole chunk from the buffer to the body; False if there is none."""
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return False
        size = int(self.buffer[:end], 16)
        if len(self.buffer) < end + 2 + size + 2:
            return False
        self.body += self.buffer[end + 2:end + 2 + size]
        self.buffer = self.buffer[end + 2 + size + 2:]
        if size == 0:
            self.finish()
        return True

    def on_event(self, event, now):
        answer = self.answer
        if event.startswith(b":"):
            answer.comments += 1
            return
        if event == b"data: [DONE]":
            answer.finish = "done"
            return
        if b'"error":{' in event:
            answer.error = "error in the stream: " + event[6:306].decode("utf-8", "replace")
            return
        if b'"usage":{' in event:
            answer.usage = json.loads(event[6:])["usage"]
        for key in _TEXT:
            at = event.find(key)
            if at >= 0 and event[at + len(key):at + len(key) + 1] != b'"':
                break
        else:
            return
        answer.events += 1
        if answer.text is not None:
            answer.text.append(json.loads(event[6:])["choices"][0]["delta"].get("content") or "")
        if answer.first is None:
            answer.first = now
        else:
            answer.gaps.append(now - answer.last)
        answer.last = now


def request_bytes(path, body, headers=()):
    text = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(text)}",
             "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


async def stream(port, request, timeout=600.0, keep_text=False, answer=None):
    """Sends `request` (of request_bytes) to a local port and reads the whole stream. Never raises for what the
    server does. A cancelled call closes its connection, as a client that leaves does."""
    answer = answer if answer is not None else Answer()
    if keep_text:
        answer.text = []
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    try:
        transport, _ = await asyncio.wait_for(
            loop.create_connection(lambda: _Stream(request, answer, done), "127.0.0.1", port), timeout)
    except (OSError, asyncio.TimeoutError) as error:
        answer.error = f"cannot connect: {error or 'timeout'}"
        return answer
    try:
        await asyncio.wait_for(done, timeout)
    except asyncio.TimeoutError:
        answer.error = f"no end within {timeout:.0f} s"
    finally:
        transport.abort() if not done.done() else transport.close()
    return answer
