"""/v1/embeddings through the unmodified official client, against a forward pass in numpy."""

import contextlib
import json
import os
import sys
import unittest

import numpy as np
import openai

from serving import ROOT, Serving, model, run

sys.path.insert(0, os.path.join(ROOT, "tests/golden"))
from llama_float64 import Llama  # noqa: E402

NAME = Serving.NAME
TEXTS = ["What is the capital of France?", "Paris is the capital of France.", "人工智能 😀", "a"]
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving())
    client = server.client()


def tearDownModule():
    stack.close()


def embed(texts, **options):
    return client.embeddings.create(model=NAME, input=texts, **options)


def vectors(answer):
    return np.array([d.embedding for d in answer.data])


def ids_of(text):
    return server.post("/tokenize", {"content": text})[1]["tokens"]


def reference_model():
    """The served GGUF file's weights, dequantized, behind a head that leaves the hidden states as they are."""
    from gguf import GGUFReader, dequantize

    path = json.loads(run("inspect", "--model", model(), "--json").stdout)["path"]
    reader = GGUFReader(path)
    number = {k.split(".", 1)[1]: f.contents() for k, f in reader.fields.items() if k.startswith("llama.")}
    heads, kv_heads = number["attention.head_count"], number["attention.head_count_kv"]
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    weights = {}
    for tensor in reader.tensors:
        array = dequantize(tensor.data, tensor.tensor_type)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            # llama.cpp stores the rows of q and k in the order of its own rotation.
            count = {"attn_q": heads, "attn_k": kv_heads}.get(parts[2])
            if count:
                rows, columns = array.shape
                array = array.reshape(count, rows // count // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
            weights[f"model.layers.{parts[1]}.{names[parts[2]]}.weight"] = array
        else:
            known = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}
            weights[known.get(parts[0], parts[0])] = array
    size = number["embedding_length"]
    weights["lm_head.weight"] = np.eye(size, dtype=np.float32)
    config = {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "hidden_size": size,
              "rope_theta": number["rope.freq_base"], "num_hidden_layers": number["block_count"],
              "rms_norm_eps": number["attention.layer_norm_rms_epsilon"]}
    return Llama(config, weights)


class Embeddings(unittest.TestCase):
    def test_equals_the_reference(self):
        llama = reference_model()
        for text, found in zip(TEXTS, vectors(embed(TEXTS))):
            expected = llama.logits(ids_of(text)).mean(0)
            expected /= np.linalg.norm(expected)
            self.assertLess(np.abs(found - expected).max(), 2e-3, text)

    def test_meaning(self):
        found = vectors(embed(["The cat sleeps on the sofa.", "A cat is sleeping on the couch.",
                               "Interest rates rose by half a percent."]))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        self.assertGreater(found[0] @ found[1], found[0] @ found[2])

    def test_forms_of_input(self):
        whole = vectors(embed(TEXTS))
        np.testing.assert_array_equal(vectors(embed(TEXTS[0]))[0], whole[0])
        np.testing.assert_array_equal(vectors(embed(ids_of(TEXTS[0])))[0], whole[0])
        np.testing.assert_array_equal(vectors(embed([ids_of(t) for t in TEXTS])), whole)
        answer = embed(TEXTS)
        self.assertEqual([d.index for d in answer.data], [0, 1, 2, 3])
        self.assertEqual((answer.model, answer.object, answer.data[0].object), (NAME, "list", "embedding"))
        self.assertEqual(answer.usage.prompt_tokens, sum(len(ids_of(t)) for t in TEXTS))

    def test_encodings(self):
        numbers = vectors(embed(TEXTS, encoding_format="float"))
        np.testing.assert_array_equal(numbers.astype(np.float32), vectors(embed(TEXTS)).astype(np.float32))
        raw = server.post("/v1/embeddings", {"model": NAME, "input": "a", "encoding_format": "base64"})[1]
        self.assertIsInstance(raw["data"][0]["embedding"], str)

    def test_dimensions(self):
        whole, cut = vectors(embed("hello"))[0], vectors(embed("hello", dimensions=32))[0]
        np.testing.assert_allclose(cut, whole[:32] / np.linalg.norm(whole[:32]), atol=1e-7)

    def test_many_and_long(self):
        """More than the queue takes, among them long ones: the same bytes as alone."""
        texts = [f"number {i} " * (1 + 40 * (i % 50 == 7)) for i in range(300)]
        found = vectors(embed(texts))
        for i in (0, 7, 299):
            np.testing.assert_array_equal(found[i], vectors(embed(texts[i]))[0])

    def test_foreign_ids(self):
        # "I love programming, especially in languages I know well." in OpenAI's cl100k_base.
        cl100k = [40, 3021, 15840, 11, 5423, 304, 15823, 358, 1440, 1664, 13]
        for ids in (cl100k, [cl100k], [5, 10 ** 6]):
            with self.assertRaisesRegex(openai.BadRequestError, "check_embedding_ctx_length=False"):
                embed(ids)

    def test_errors(self):
        for options in ({"dimensions": 10 ** 6}, {"encoding_format": "int8"}):
            with self.assertRaises(openai.BadRequestError) as caught:
                embed("a", **options)
            self.assertEqual(caught.exception.body["param"], *options)
        with self.assertRaises(openai.NotFoundError):
            client.embeddings.create(model="other", input="a")

    def test_last_pooling(self):
        with Serving("--pooling", "last") as other:
            made = other.client().embeddings.create(model=NAME, input=["one two", "one two three"]).data
            mean = vectors(embed("one two"))[0]
            self.assertGreater(np.abs(np.array(made[0].embedding) - mean).max(), 1e-3)


if __name__ == "__main__":
    unittest.main()
