"""Structured output and forced tool calls through the unmodified official client, judged by jsonschema.

The texts of a random walk through every schema of tests/fixtures/grammar come from the unit test's binary; the real model
answers some of them at temperature 1.
"""

import concurrent.futures
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
import typing
import unittest

import jsonschema
import openai
import pydantic
from serving import BINARY, ROOT, Serving

NAME = Serving.NAME
SCHEMAS = os.path.join(ROOT, "tests/fixtures/grammar/schemas.jsonl")
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                                    "unit": {"enum": ["celsius", "fahrenheit"]}},
                   "required": ["city", "unit"], "additionalProperties": False}}}
CLOCK = {"type": "function", "function": {
    "name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"type": "integer", "minimum": -12, "maximum": 14}},
                                       "required": ["zone"], "additionalProperties": False}}}
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving("--context", "4096"))
    client = server.client()


def tearDownModule():
    stack.close()


def chat(text, **options):
    options = {"model": NAME, "temperature": 0, "max_tokens": 120, **options}
    return client.chat.completions.create(messages=[{"role": "user", "content": text}], **options)


def validator(schema):
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def schema_format(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


class RandomTexts(unittest.TestCase):
    def test_every_schema(self):
        binary = os.path.join(os.path.dirname(BINARY), "tests/engine_sampling_test")
        if not os.path.exists(binary):
            self.skipTest(f"no {binary}: the unit tests are not built")
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as samples:
            subprocess.run([binary, "--gtest_filter=Grammar.RandomTextsOfManySchemas"], check=True, cwd=ROOT,
                           env={**os.environ, "INHOUSE_SAMPLES": samples.name}, stdout=subprocess.DEVNULL)
            count = 0
            for line in samples:
                sample = json.loads(line)
                schema = draft_2020(sample["schema"])
                errors = [e.message for e in validator(schema).iter_errors(json.loads(sample["text"]))]
                self.assertEqual(errors, [], sample)
                count += 1
        self.assertGreater(count, 1500)


def draft_2020(schema):
    """OpenAPI's nullable in JSON Schema's words."""
    if isinstance(schema, dict) and schema.get("nullable"):
        return {"anyOf": [{k: v for k, v in schema.items() if k != "nullable"}, {"type": "null"}]}
    return schema


class Person(pydantic.BaseModel):
    name: typing.Annotated[str, pydantic.StringConstraints(max_length=20)]
    age: typing.Annotated[int, pydantic.Field(ge=0, le=130)]
    tags: typing.Annotated[list[typing.Literal["a", "b"]], pydantic.Field(max_length=3)]
    boss: typing.Optional["Person"]


class ResponseFormat(unittest.TestCase):
    def test_parse_pydantic(self):
        class Step(pydantic.BaseModel):
            explanation: str
            done: bool

        class Color(pydantic.BaseModel):
            color: typing.Literal["red", "green", "blue"]
            step: Step

        done = client.chat.completions.parse(
            model=NAME, temperature=0, max_tokens=200, response_format=Color,
            messages=[{"role": "user", "content": "What color is the sky? Explain in a short sentence."}])
        self.assertEqual(done.choices[0].finish_reason, "stop")
        self.assertIn(done.choices[0].message.parsed.color, ("red", "green", "blue"))
        self.assertIsInstance(done.choices[0].message.parsed.step.done, bool)

    def test_recursive_model(self):
        schema = Person.model_json_schema()
        finished = 0
        for seed in range(4):
            choice = chat("Describe Ann, who is 30.", temperature=1, seed=seed, max_tokens=250,
                          response_format=schema_format(schema)).choices[0]
            if choice.finish_reason == "stop":
                Person.model_validate_json(choice.message.content)
                finished += 1
        self.assertGreater(finished, 0)

    def test_real_model_on_many_schemas(self):
        with open(SCHEMAS, encoding="utf-8") as file:
            schemas = [json.loads(line) for line in file][::9]

        def ask(item):
            index, schema = item
            schema = schema if isinstance(schema, dict) else {}
            choice = chat("Answer with JSON.", temperature=1, seed=index, max_tokens=60,
                          response_format=schema_format(schema)).choices[0]
            if choice.finish_reason == "length":
                return False
            self.assertEqual(choice.finish_reason, "stop")
            errors = list(validator(draft_2020(schema)).iter_errors(json.loads(choice.message.content)))
            self.assertEqual(errors, [], (schema, choice.message.content))
            return True

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            finished = sum(pool.map(ask, enumerate(schemas)))
        self.assertGreater(finished, len(schemas) // 2)

    def test_json_object(self):
        answer = chat("Give me a JSON object with a key 'answer'.", response_format={"type": "json_object"}, max_tokens=300)
        if answer.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)
        self.assertTrue(answer.choices[0].message.content.startswith("{"))

    def test_stream_n_and_logprobs(self):
        options = {"response_format": schema_format({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9},
                                                     "minItems": 2, "maxItems": 4}),
                   "n": 3, "temperature": 1, "seed": 5, "frequency_penalty": 1, "logprobs": True, "top_logprobs": 2, "min_tokens": 30}
        options["extra_body"] = {"min_tokens": options.pop("min_tokens")}
        whole = chat("Three numbers.", **options)
        for choice in whole.choices:
            self.assertEqual(choice.finish_reason, "stop")
            numbers = json.loads(choice.message.content)
            self.assertTrue(2 <= len(numbers) <= 4 and all(0 <= n <= 9 for n in numbers), numbers)
            self.assertEqual("".join(t.token for t in choice.logprobs.content), choice.message.content)
        parts = {0: "", 1: "", 2: ""}
        for chunk in chat("Three numbers.", stream=True, **options):
            parts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        self.assertEqual(parts, {c.index: c.message.content for c in whole.choices})

    def test_stop_string_cuts(self):
        answer = chat("x", response_format=schema_format({"const": {"a": "bcd"}}), stop=["c"])
        self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), ('{"a":"b', "stop"))

    def test_answer_ends_by_itself(self):
        for ignore in (False, True):
            answer = chat("x", response_format=schema_format({"enum": ["yes"]}), extra_body={"ignore_eos": ignore})
            self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), ('"yes"', "stop"))

    def test_vllm_names(self):
        def body(**fields):
            return chat("How are you?", extra_body=fields).choices[0].message.content

        self.assertRegex(body(structured_outputs={"regex": "[a-z]{3}-[0-9]{2}"}), r"^[a-z]{3}-[0-9]{2}$")
        self.assertIn(body(structured_outputs={"choice": ["fine", "bad"]}), ("fine", "bad"))
        self.assertIn(body(guided_choice=["fine", "bad"]), ("fine", "bad"))
        self.assertRegex(body(structured_outputs={"grammar": 'root ::= "I am " ("well" | "ill") "."'}), "^I am (well|ill)\\.$")
        self.assertIn(json.loads(body(guided_json={"enum": [1, 2]})), (1, 2))
        done = client.completions.create(model=NAME, prompt="The capital of France is", max_tokens=20, temperature=0,
                                         extra_body={"structured_outputs": {"choice": [" Paris", " Rome"]}})
        self.assertIn(done.choices[0].text, (" Paris", " Rome"))

    def test_refusals_name_the_path_and_are_fast(self):
        deep = {"type": "string"}
        for _ in range(30):
            deep = {"anyOf": [{"type": "array", "items": deep}, {"allOf": [deep, {"minLength": 1}]}]} if _ < 8 else {"items": deep, "type": "array"}
        for schema, path in (({"not": {}}, "#/not"), ({"properties": {"a": {"format": "isbn"}}}, "#/properties/a/format"),
                             ({"pattern": "(x{1000}){1000}"}, "#/pattern"), ({"pattern": "(?<=a)b"}, "#/pattern"),
                             ({"$ref": "#/$defs/no"}, "#/$ref"), ({"enum": ["x" * 200_000]}, "bytes")):
            start = time.monotonic()
            with self.assertRaises(openai.BadRequestError) as caught:
                chat("x", response_format=schema_format(schema))
            self.assertLess(time.monotonic() - start, 2)
            self.assertIn(path, str(caught.exception))
        with self.assertRaises(openai.BadRequestError) as caught:
            chat("x", response_format=schema_format({"type": "string", "unknown": 1}, strict=True))
        self.assertIn("#/unknown", str(caught.exception))
        self.assertEqual(chat("Say hi.", max_tokens=3).usage.completion_tokens, 3)  # the server goes on


class Tools(unittest.TestCase):
    def check(self, call):
        tool = {"get_weather": WEATHER, "get_time": CLOCK}[call.function.name]
        jsonschema.validate(json.loads(call.function.arguments), tool["function"]["parameters"])

    def test_required(self):
        for options in ({}, {"parallel_tool_calls": False}, {"temperature": 1, "seed": 3}):
            choice = chat("What is the weather in Paris?", tools=[WEATHER, CLOCK], tool_choice="required", max_tokens=1000,
                          **options).choices[0]
            self.assertEqual(choice.finish_reason, "tool_calls")
            self.assertFalse(choice.message.content)
            for call in choice.message.tool_calls:
                self.check(call)
            self.assertTrue(1 <= len(choice.message.tool_calls) <= (1 if "parallel_tool_calls" in options else 32))

    def test_named_and_allowed(self):
        named = {"type": "function", "function": {"name": "get_time"}}
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "get_time"}}]}}
        for tool_choice in (named, allowed):
            choice = chat("What is the weather in Paris?", tools=[WEATHER, CLOCK], tool_choice=tool_choice,
                          parallel_tool_calls=False).choices[0]
            self.assertEqual([c.function.name for c in choice.message.tool_calls], ["get_time"])
            self.check(choice.message.tool_calls[0])

    def test_streamed_in_pieces(self):
        options = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
        whole = chat("Weather in Rome?", **options).choices[0].message.tool_calls
        chunks = list(chat("Weather in Rome?", stream=True, **options))
        deltas = [d for c in chunks for d in c.choices[0].delta.tool_calls or []]
        self.assertEqual([d.function.name for d in deltas if d.function.name], ["get_weather"])
        self.assertEqual(len([d for d in deltas if d.id]), 1)
        self.assertGreater(len(deltas), 3)
        self.assertEqual("".join(d.function.arguments or "" for d in deltas), whole[0].function.arguments)
        self.assertEqual(chunks[-1].choices[0].finish_reason, "tool_calls")
        with client.chat.completions.stream(model=NAME, temperature=0, max_tokens=200, **options,
                                            messages=[{"role": "user", "content": "Weather in Rome?"}]) as stream:
            for _ in stream:
                pass
            call = stream.get_final_completion().choices[0].message.tool_calls[0]
            self.assertEqual(call.function.arguments, whole[0].function.arguments)

    def test_turns_with_results(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        first = client.chat.completions.create(model=NAME, messages=messages, tools=[WEATHER], tool_choice="required",
                                               parallel_tool_calls=False, temperature=0, max_tokens=200)
        message = first.choices[0].message
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"sky": "clear", "degrees": 21}'}]
        second = client.chat.completions.create(model=NAME, messages=messages, tools=[WEATHER], temperature=0, max_tokens=40)
        self.assertIn(second.choices[0].finish_reason, ("stop", "length", "tool_calls"))
        self.assertGreater(second.usage.prompt_tokens, first.usage.prompt_tokens)
        third = client.chat.completions.create(model=NAME, messages=messages, tools=[WEATHER], tool_choice="none",
                                               temperature=0, max_tokens=40)
        self.assertIsNone(third.choices[0].message.tool_calls)

    def test_auto_with_a_schema(self):
        choice = chat("Hello!", tools=[WEATHER], response_format=schema_format({"enum": ["hello", "bye"]}), max_tokens=200).choices[0]
        if choice.finish_reason == "stop":
            self.assertIn(json.loads(choice.message.content), ("hello", "bye"))
        else:
            self.check(choice.message.tool_calls[0])

    def test_bad_choices(self):
        for tool_choice, tools in (("required", None), ("sometimes", [WEATHER]),
                                   ({"type": "function", "function": {"name": "nobody"}}, [WEATHER])):
            with self.assertRaises(openai.BadRequestError) as caught:
                chat("x", tool_choice=tool_choice, **({"tools": tools} if tools else {}))
            self.assertTrue(re.search("tool_choice", str(caught.exception)))


if __name__ == "__main__":
    unittest.main()
