"""LangChain's OpenAI package, as an application uses it: invoke, stream, batch, tools, embeddings."""

import contextlib
import unittest

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from serving import Serving

NAME = Serving.NAME
server = None
stack = contextlib.ExitStack()


def setUpModule():
    global server
    server = stack.enter_context(Serving())


def tearDownModule():
    stack.close()


def llm(**options):
    return ChatOpenAI(**{"model": NAME, "base_url": server.url + "/v1", "api_key": "none", "temperature": 0,
                         "max_tokens": 16, "max_retries": 0, **options})


QUESTION = [SystemMessage("Be brief."), HumanMessage("What is the capital of France?")]


class LangChain(unittest.TestCase):
    def test_invoke_stream_batch(self):
        whole = llm().invoke(QUESTION)
        self.assertIn("Paris", whole.content)
        self.assertGreater(whole.usage_metadata["input_tokens"], 5)
        pieces = list(llm(stream_usage=True).stream(QUESTION))
        self.assertEqual("".join(p.content for p in pieces), whole.content)
        self.assertEqual([a.content for a in llm().batch([QUESTION] * 3)], [whole.content] * 3)

    def test_responses_api(self):
        answer = llm(use_responses_api=True).invoke(QUESTION)
        self.assertEqual(answer.text if isinstance(answer.text, str) else answer.text(), llm().invoke(QUESTION).content)

    def test_tools(self):
        def weather(city: str) -> str:
            """The weather of a city."""
            return city

        call = {"name": "weather", "args": {"city": "Paris"}, "id": "call_1"}
        history = [HumanMessage("Weather?"), AIMessage("", tool_calls=[call]), ToolMessage("sunny", tool_call_id="call_1")]
        self.assertIsInstance(llm().bind_tools([weather]).invoke(history).content, str)

    def test_embeddings(self):
        options = {"model": NAME, "base_url": server.url + "/v1", "api_key": "none", "max_retries": 0}
        texts = ["I love programming, especially in languages that I know well.", "The sea."]
        found = OpenAIEmbeddings(check_embedding_ctx_length=False, **options).embed_documents(texts)
        plain = server.client().embeddings.create(model=NAME, input=texts)
        self.assertEqual(found, [d.embedding for d in plain.data])


if __name__ == "__main__":
    unittest.main()
