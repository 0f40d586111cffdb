"""Puts a Hugging Face byte-level BPE tokenizer of Qwen's kind into a GGUF file that is being written, so that servers can
take text for a model of random weights."""

import json
import os

from gguf import TokenType

# ChatML without the tools and defaults of the official template: every engine renders it alike.
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def add_qwen2(writer, folder, size):
    """`size` is the rows of the embedding; ids that the tokenizer does not have are unused."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        source = json.load(f)
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [TokenType.UNUSED] * size
    for text, number in source["model"]["vocab"].items():
        tokens[number], types[number] = text, TokenType.NORMAL
    for added in source["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in source["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
