"""Puts a Hugging Face byte-level BPE tokenizer of Qwen's kind into a GGUF file that is being written, so that servers can
take text for a model of random weights."""

import json
import os

from gguf import TokenType

# ChatML without the tools and defaults of the official template: every engine renders it alike.
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


# Characters by which GPT-2's alphabet spells the ASCII bytes.
ASCII = {chr(c) for c in range(33, 127)} | {chr(c) for c in range(256, 256 + 34)}


def add_qwen2(writer, folder, size):
    """`size` is the rows of the embedding. Of the tokenizer only what is ASCII keeps its text, and every other id has
    one of its own: random weights would put together what is no UTF-8, which llama-server does not send."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        source = json.load(f)
    tokens = [f"[{i}]" for i in range(size)]
    types = [TokenType.NORMAL] * size
    vocabulary = {text: number for text, number in source["model"]["vocab"].items() if set(text) <= ASCII}
    for text, number in vocabulary.items():
        tokens[number] = text
    for added in source["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    pairs = [m.split(" ") if isinstance(m, str) else m for m in source["model"]["merges"]]
    merges = [" ".join(pair) for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
