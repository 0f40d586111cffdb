"""LoRA adapters as the official client sees them: models by name, many in one batch, loaded while others answer."""

import contextlib
import os
import re
import shutil
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import openai

from lora_adapter import write_adapter
from serving import Serving

NAME = Serving.NAME
server = None
client = None
folder = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client, folder
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    for seed, name in enumerate(("red", "blue", "green")):
        write_adapter(os.path.join(folder, name), seed, modules=("self_attn.q_proj", "mlp.down_proj") if seed else
                      ("self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj"))
    write_adapter(os.path.join(folder, "deep"), 9, rank=32, modules=("self_attn.q_proj",))
    server = stack.enter_context(Serving(
        "--context", "512", "--adapter", f"red={folder}/red", "--adapter", f"blue={folder}/blue", "--max-adapters", "3",
        "--max-adapter-rank", "16", "--adapter-root", folder, "--max-sequences", "12"))
    client = server.client()


def tearDownModule():
    stack.close()


def ask(model, text="Tell me about the sea.", tokens=24, **options):
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], max_tokens=tokens,
                                            logprobs=True, temperature=0, **options)
    return [(token.token, token.logprob) for token in answer.choices[0].logprobs.content]


def load(name, path, **extra):
    return server.call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path, **extra})


def unload(name):
    return server.call("POST", "/v1/unload_lora_adapter", {"lora_name": name})


class Adapters(unittest.TestCase):
    def test_models_list_them_under_their_parent(self):
        models = {model.id: model for model in client.models.list()}
        self.assertEqual(set(models), {NAME, f"{NAME}:red", f"{NAME}:blue"})
        self.assertEqual(models[f"{NAME}:red"].parent, NAME)
        self.assertIsNone(models[NAME].parent)
        self.assertEqual(client.models.retrieve(f"{NAME}:blue").root, "blue")
        self.assertEqual(client.models.retrieve("blue").parent, NAME)
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve(f"{NAME}:yellow")

    def test_same_bytes_in_one_batch_as_alone(self):
        asked = [(model, text) for text in ("Tell me about the sea.", "Why?", "Count to ten, slowly, and then back again.")
                 for model in (NAME, f"{NAME}:red", f"{NAME}:blue")]
        alone = [ask(*one) for one in asked]
        self.assertEqual(len({tuple(answer) for answer in alone[:3]}), 3)
        with ThreadPoolExecutor(len(asked)) as pool:
            crowd = list(pool.map(lambda one: ask(*one), asked))
        self.assertEqual(crowd, alone)

    def test_completions_and_bare_names(self):
        def complete(model):
            return client.completions.create(model=model, prompt="The sea", max_tokens=12, temperature=0)

        answer = complete(f"{NAME}:red")
        self.assertEqual(answer.model, f"{NAME}:red")
        self.assertNotEqual(answer.choices[0].text, complete(NAME).choices[0].text)
        self.assertNotEqual(answer.system_fingerprint, complete(NAME).system_fingerprint)
        self.assertEqual(complete("red").choices[0].text, answer.choices[0].text)

    def test_unknown_adapter(self):
        for model in (f"{NAME}:yellow", f"{NAME}:", f"other:red", "yellow"):
            with self.subTest(model=model), self.assertRaises(openai.NotFoundError) as caught:
                ask(model)
            self.assertEqual((caught.exception.code, caught.exception.param), ("model_not_found", "model"))

    def test_load_and_unload_while_others_answer(self):
        expected = ask(f"{NAME}:red")
        status, _, text = load("green", f"{folder}/green")
        self.assertEqual((status, text), (200, "Success: LoRA adapter 'green' added successfully."))
        green = ask(f"{NAME}:green", tokens=200, extra_body={"ignore_eos": True})
        self.assertNotEqual(green[:len(expected)], expected)
        # It is unloaded while an answer is on its way; that one ends as it began.
        first_token, rest = threading.Event(), []

        def stream():
            for chunk in client.chat.completions.create(
                    model=f"{NAME}:green", messages=[{"role": "user", "content": "Tell me about the sea."}], max_tokens=200,
                    temperature=0, logprobs=True, stream=True, extra_body={"ignore_eos": True}):
                for choice in chunk.choices:
                    if choice.logprobs and choice.logprobs.content:
                        rest.extend((token.token, token.logprob) for token in choice.logprobs.content)
                        first_token.set()

        thread = threading.Thread(target=stream)
        thread.start()
        self.assertTrue(first_token.wait(60))
        self.assertEqual(unload("green")[0], 200)
        with self.assertRaises(openai.NotFoundError):
            ask(f"{NAME}:green")
        self.assertEqual(ask(f"{NAME}:red"), expected)
        thread.join(60)
        self.assertEqual(rest, green)
        self.assertEqual(unload("green")[0], 404)

    def test_refusals_say_what_is_wrong(self):
        def refused(answer, status, code, text):
            self.assertEqual(answer[0], status, answer[2])
            self.assertIn(f'"code":"{code}"', answer[2])
            self.assertIn(text, answer[2])

        refused(load("deep", f"{folder}/deep"), 400, "adapter_limit", "at most 16")
        refused(load("red", f"{folder}/red"), 400, "adapter_exists", "load_inplace")
        refused(load("none", f"{folder}/none"), 404, "adapter_not_found", "No such file")
        refused(load("etc", "/etc"), 403, "adapter_path_not_allowed", "--adapter-root")
        refused(load("up", "../.."), 403, "adapter_path_not_allowed", "--adapter-root")
        refused(load("a:b", "green"), 400, "invalid_adapter", "letters")
        refused(load(NAME, "green"), 400, "invalid_value", "the model itself")
        refused(load("", "green"), 400, "missing_required_parameter", "lora_name")
        refused(server.call("POST", "/v1/load_lora_adapter", {"lora_name": "x"}), 400, "missing_required_parameter", "lora_path")
        self.assertEqual(server.call("POST", "/v1/load_lora_adapter", "{")[0], 400)
        with open(f"{folder}/green/adapter_model.safetensors", "rb") as file:
            whole = file.read()
        os.makedirs(f"{folder}/cut", exist_ok=True)
        shutil.copy(f"{folder}/green/adapter_config.json", f"{folder}/cut")
        with open(f"{folder}/cut/adapter_model.safetensors", "wb") as file:
            file.write(whole[:len(whole) // 2])
        refused(load("cut", "cut"), 400, "invalid_adapter", "truncated")

    def test_limit_of_loaded_adapters_and_replacing(self):
        self.assertEqual(load("third", "green")[0], 200)
        try:
            answer = load("fourth", "green")
            self.assertEqual(answer[0], 400)
            self.assertIn("at most 3", answer[2])
            before = ask(f"{NAME}:third")
            self.assertEqual(load("third", "blue", load_inplace=True)[0], 200)
            self.assertEqual(ask(f"{NAME}:third"), ask(f"{NAME}:blue"))
            self.assertNotEqual(ask(f"{NAME}:third"), before)
        finally:
            self.assertEqual(unload("third")[0], 200)

    def test_metric(self):
        with client.chat.completions.create(
                model=f"{NAME}:blue", messages=[{"role": "user", "content": "hi"}], max_tokens=300, stream=True,
                extra_body={"ignore_eos": True}) as answer:
            next(iter(answer))
            text = server.call("GET", "/metrics")[2]
        self.assertRegex(text, r'vllm:lora_requests_info\{max_lora="3",running_lora_adapters="blue",waiting_lora_adapters=""\} \d')
        server.await_idle()
        text = server.call("GET", "/metrics")[2]
        self.assertEqual(len(re.findall(r"^vllm:lora_requests_info\{", text, re.MULTILINE)), 1)
        self.assertIn('running_lora_adapters=""', text)


if __name__ == "__main__":
    unittest.main()
