"""/v1/messages through Anthropic's unmodified official client."""

import contextlib
import json
import unittest

import anthropic

from serving import Serving

NAME = Serving.NAME
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {"name": "weather", "description": "The weather of a city", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving())
    client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def tearDownModule():
    stack.close()


def settings(temperature=0, seed=None, **options):
    """The newest clients have no arguments for sampling any more; the API still takes it."""
    return {"model": NAME, "max_tokens": 24, "extra_body": {"temperature": temperature, "seed": seed}, **options}


def create(messages=QUESTION, **options):
    return client.messages.create(messages=messages, **settings(**options))


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


class Messages(unittest.TestCase):
    def test_answer(self):
        message = create()
        self.assertTrue(message.id.startswith("msg_"))
        self.assertEqual((message.type, message.role, message.model), ("message", "assistant", NAME))
        self.assertIn("Paris", text_of(message))
        self.assertEqual((message.stop_reason, message.stop_sequence), ("end_turn", None))
        self.assertGreater(message.usage.input_tokens + message.usage.cache_read_input_tokens, 5)
        self.assertGreater(message.usage.output_tokens, 3)
        self.assertIsNotNone(message._request_id)

    def test_same_words_as_openai(self):
        chat = server.client().chat.completions.create(model=NAME, messages=QUESTION, temperature=0, max_tokens=24)
        self.assertEqual(text_of(create()), chat.choices[0].message.content)
        with_system = server.client().chat.completions.create(
            model=NAME, temperature=0, max_tokens=24,
            messages=[{"role": "system", "content": "You are a pirate.\nBe brief."}, *QUESTION])
        blocks = [{"type": "text", "text": "You are a pirate."},
                  {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        for system in ("You are a pirate.\nBe brief.", blocks):
            self.assertEqual(text_of(create(system=system)), with_system.choices[0].message.content)

    def test_stop_reasons(self):
        self.assertEqual(create(max_tokens=3).stop_reason, "max_tokens")
        stopped = create(stop_sequences=["Paris"])
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", "Paris"))
        self.assertNotIn("Paris", text_of(stopped))

    def test_prefill_goes_on(self):
        message = create([*QUESTION, {"role": "assistant", "content": "The capital of France is"}])
        self.assertTrue(text_of(message).lstrip().startswith("Paris"), message)

    def test_stream_helper(self):
        """The client's own accumulator puts the events together to the message that is not streamed."""
        for options in ({}, {"max_tokens": 3}, {"stop_sequences": ["Paris"]}, {"temperature": 1, "seed": 7}):
            whole = create(**options)
            with client.messages.stream(messages=QUESTION, **settings(**options)) as stream:
                pieces = list(stream.text_stream)
                final = stream.get_final_message()
            self.assertEqual("".join(pieces), text_of(whole))
            self.assertEqual([b.model_dump() for b in final.content if b.type == "text"],
                             [b.model_dump() for b in whole.content])
            self.assertEqual((final.stop_reason, final.stop_sequence), (whole.stop_reason, whole.stop_sequence))
            self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)

    def test_events(self):
        status, headers, text = server.call("POST", "/v1/messages", {
            "model": NAME, "max_tokens": 8, "temperature": 0, "messages": QUESTION, "stream": True})
        self.assertEqual((status, headers["content-type"].split(";")[0]), (200, "text/event-stream"))
        events = []
        for event in text.strip().split("\n\n"):
            name, data = event.split("\n")
            data = json.loads(data.removeprefix("data: "))
            self.assertEqual(name, "event: " + data["type"])
            events.append(data["type"])
        self.assertEqual(events[:3], ["message_start", "ping", "content_block_start"])
        self.assertEqual(events[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(set(events[3:-3]), {"content_block_delta"})

    def test_blocks_of_a_conversation(self):
        """Every block that a client sends back is taken: thinking, tool_use, tool_result, text."""
        message = create([
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "I look it up.", "signature": "abc"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "One moment."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "And now?"}]},
        ], tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True},
            thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=4)
        self.assertEqual(message.stop_reason, "max_tokens")

    def test_count_tokens(self):
        counted = client.messages.count_tokens(model=NAME, messages=QUESTION, system="Be brief.").input_tokens
        usage = create(system="Be brief.").usage
        self.assertEqual(counted, usage.input_tokens + usage.cache_read_input_tokens)
        self.assertGreater(client.messages.count_tokens(model=NAME, messages=QUESTION * 3).input_tokens, counted)

    def test_errors(self):
        def message_of(error, **options):
            with self.assertRaises(error) as caught:
                create(**options)
            body = caught.exception.body
            self.assertEqual((body["type"], bool(body["request_id"])), ("error", True))
            return body["error"]["type"], body["error"]["message"]

        kind, text = message_of(anthropic.NotFoundError, model="other")
        self.assertEqual(kind, "not_found_error")
        for expected, options in (
                ("max_tokens", {"max_tokens": 0}),
                ("'stop_sequences[0]'", {"stop_sequences": [""]}),
                ("'messages[0].content[0]", {"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}),
                ("'messages[0].content'", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
                ("'messages[0].role'", {"messages": [{"role": "wizard", "content": "x"}]}),
                ("'tools[0].type'", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
                ("'tools[0].name'", {"tools": [{"name": "", "input_schema": {}}]}),
                ("'thinking.type'", {"thinking": {"type": "often"}}),
                ("maximum context length", {"messages": [{"role": "user", "content": "word " * 20000}]})):
            kind, text = message_of(anthropic.BadRequestError, **options)
            self.assertEqual(kind, "invalid_request_error")
            self.assertIn(expected, text)
        status, _, text = server.call("GET", "/v1/messages")
        self.assertEqual((status, json.loads(text)["type"]), (405, "error"))
        status, found = server.post("/v1/messages", {"model": NAME, "messages": QUESTION})
        self.assertIn("'max_tokens'", found["error"]["message"])


if __name__ == "__main__":
    unittest.main()
