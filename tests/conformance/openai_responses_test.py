"""/v1/responses through the unmodified official client."""

import contextlib
import json
import unittest

import openai

from serving import Serving

NAME = Serving.NAME
QUESTION = "What is the capital of France?"
TOOL = {"type": "function", "name": "weather", "description": "The weather of a city", "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving())
    client = server.client()


def tearDownModule():
    stack.close()


def create(input=QUESTION, **options):
    return client.responses.create(**{"model": NAME, "input": input, "temperature": 0, "max_output_tokens": 24, **options})


def chat(messages):
    answer = client.chat.completions.create(model=NAME, messages=messages, temperature=0, max_tokens=24)
    return answer.choices[0].message.content


class Responses(unittest.TestCase):
    def test_answer(self):
        response = create(metadata={"case": "7"})
        self.assertTrue(response.id.startswith("resp_"))
        self.assertEqual((response.object, response.status, response.model), ("response", "completed", NAME))
        self.assertIn("Paris", response.output_text)
        item = response.output[-1]
        self.assertEqual((item.type, item.role, item.status), ("message", "assistant", "completed"))
        self.assertEqual(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens)
        self.assertEqual(response.usage.output_tokens_details.reasoning_tokens, 0)
        self.assertEqual((response.metadata, response.temperature, response.store), ({"case": "7"}, 0, False))
        self.assertIsNone(response.error)

    def test_same_words_as_chat(self):
        self.assertEqual(create().output_text, chat([{"role": "user", "content": QUESTION}]))
        conversation = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Paris."},
                        {"role": "user", "content": "And of Italy?"}]
        system = {"role": "system", "content": "You are a pirate."}
        self.assertEqual(create(conversation, instructions=system["content"]).output_text, chat([system, *conversation]))
        first = create()
        items = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
                 *[item.model_dump() for item in first.output],
                 {"type": "message", "role": "user", "content": "And of Italy?"}]
        conversation[1]["content"] = first.output_text
        self.assertEqual(create(items).output_text, chat(conversation))

    def test_incomplete(self):
        response = create(max_output_tokens=3)
        self.assertEqual((response.status, response.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual(response.output[-1].status, "incomplete")

    def test_stream(self):
        for options in ({}, {"max_output_tokens": 3}, {"temperature": 1, "extra_body": {"seed": 7}},
                        {"include": ["message.output_text.logprobs"], "top_logprobs": 2}):
            whole = create(**options)
            events = list(create(stream=True, **options))
            self.assertEqual([e.sequence_number for e in events], list(range(len(events))))
            kinds = [e.type for e in events]
            self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added",
                                         "response.content_part.added"])
            self.assertEqual(kinds[-4:], ["response.output_text.done", "response.content_part.done",
                                          "response.output_item.done", "response." + whole.status])
            self.assertEqual(set(kinds[4:-4]), {"response.output_text.delta"})
            self.assertEqual("".join(e.delta for e in events[4:-4]), whole.output_text)
            final = events[-1].response
            self.assertEqual((final.status, final.usage), (whole.status, whole.usage))
            for streamed, expected in zip(final.output, whole.output):
                self.assertEqual(streamed.model_dump(exclude={"id"}), expected.model_dump(exclude={"id"}))

    def test_stream_helper(self):
        with client.responses.stream(model=NAME, input=QUESTION, temperature=0, max_output_tokens=24) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_response().output_text, create().output_text)

    def test_logprobs(self):
        part = create(include=["message.output_text.logprobs"], top_logprobs=2).output[-1].content[0]
        self.assertEqual("".join(p.token for p in part.logprobs), part.text)
        self.assertTrue(all(len(p.top_logprobs) == 2 and p.top_logprobs[0].logprob == p.logprob for p in part.logprobs))
        self.assertEqual(create().output[-1].content[0].logprobs, [])

    def test_items_of_a_conversation(self):
        items = [{"role": "user", "content": "Weather in Paris?"},
                 {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
                 {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{\"city\": \"Paris\"}"},
                 {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
                 {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "warm"}]}]
        response = create(items, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False, max_output_tokens=4)
        self.assertEqual(response.tools[0].name, "weather")
        self.assertFalse(response.parallel_tool_calls)

    def test_fields_that_change_nothing(self):
        plain = create().output_text
        for options in ({"store": True}, {"truncation": "auto"}, {"user": "u", "safety_identifier": "s"},
                        {"service_tier": "auto"}, {"text": {"format": {"type": "text"}, "verbosity": "low"}},
                        {"prompt_cache_key": "k"}, {"background": False}, {"extra_body": {"no_such_field": 1}}):
            self.assertEqual(create(**options).output_text, plain, options)

    def test_errors(self):
        for param, options in (
                ("previous_response_id", {"previous_response_id": "resp_1"}),
                ("conversation", {"conversation": "conv_1"}),
                ("background", {"background": True}),
                ("prompt", {"prompt": {"id": "pmpt_1"}}),
                ("input[0].type", {"input": [{"type": "item_reference", "id": "x"}]}),
                ("input[0].role", {"input": [{"role": "wizard", "content": "x"}]}),
                ("input[1].content[0].type", {"input": [{"role": "user", "content": "x"}, {
                    "role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
                ("tools[0].type", {"tools": [{"type": "web_search"}]}),
                ("tools[0].name", {"tools": [{**TOOL, "name": ""}]}),
                ("max_output_tokens", {"max_output_tokens": 0}),
                ("reasoning.effort", {"reasoning": {"effort": "enormous"}}),
                ("temperature", {"temperature": 3})):
            with self.assertRaises(openai.BadRequestError) as caught:
                create(**options)
            self.assertEqual(caught.exception.param, param)
            self.assertIn(f"'{param}'", caught.exception.message)
        with self.assertRaises(openai.NotFoundError):
            create(model="other")
        self.assertEqual(server.post("/v1/responses", {"model": NAME})[1]["error"]["param"], "input")

    def test_no_done_at_the_end(self):
        body = {"model": NAME, "input": QUESTION, "stream": True, "max_output_tokens": 2}
        text = server.call("POST", "/v1/responses", body)[2]
        for event in text.strip().split("\n\n"):
            name, data = event.split("\n")
            self.assertEqual(name, "event: " + json.loads(data.removeprefix("data: "))["type"])


if __name__ == "__main__":
    unittest.main()
