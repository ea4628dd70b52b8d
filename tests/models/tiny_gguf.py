"""A language model of 40 kB as a GGUF file: llama architecture, two blocks, byte-level vocabulary, random weights."""

from pathlib import Path

import gguf
import numpy as np

WORDS = (" is", " of", " capital", " Berlin", " Paris", " France", " Germany", "The")
N_BLOCKS, D_MODEL, N_HEADS, D_MLP, N_CONTEXT = 2, 16, 2, 24, 48


def byte_characters() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


def vocabulary() -> tuple[list[str], list[str]]:
    """Return tokens and merges: all bytes, the words, and what lies between them; the last token ends a text."""
    alphabet = byte_characters()
    tokens, merges = list(alphabet), []
    for word in WORDS:
        pieces = [alphabet[byte] for byte in word.encode()]
        left = pieces[0]
        for piece in pieces[1:]:
            if left + piece not in tokens:
                tokens.append(left + piece)
                merges.append(f"{left} {piece}")
            left += piece
    return [*tokens, "<|end|>"], merges


def write_tiny_gguf(path: Path, *, seed: int = 0, leave_out: str = "", architecture: str = "llama") -> Path:
    """Write the model with random weights; `leave_out` names a tensor that is not written."""
    tokens, merges = vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(N_CONTEXT)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(N_BLOCKS)
    writer.add_feed_forward_length(D_MLP)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_rope_dimension_count(D_MODEL // N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) - 1)
    draw = np.random.default_rng(seed)
    for name, shape in shapes(len(tokens)).items():
        if name != leave_out:
            weights = np.ones(shape) if "norm" in name else draw.normal(scale=0.3, size=shape)
            writer.add_tensor(name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def shapes(n_tokens: int) -> dict[str, tuple[int, ...]]:
    found = {"token_embd.weight": (n_tokens, D_MODEL), "output_norm.weight": (D_MODEL,)}
    for block in range(N_BLOCKS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            found[f"blk.{block}.{part}.weight"] = (D_MODEL, D_MODEL)
        for part in ("ffn_gate", "ffn_up"):
            found[f"blk.{block}.{part}.weight"] = (D_MLP, D_MODEL)
        found[f"blk.{block}.ffn_down.weight"] = (D_MODEL, D_MLP)
        for part in ("attn_norm", "ffn_norm"):
            found[f"blk.{block}.{part}.weight"] = (D_MODEL,)
    return found
