#!/usr/bin/env python3
"""Converts a folder that `fovea synth` wrote to two GGUF files: the decoder with every matrix in
Q4_0 (or F16), and the tower with its projector in F16. Written from the GGUF specification and the
tensor names that llama.cpp documents; needs the packages gguf and numpy.
Usage: to_gguf.py FOLDER OUT [--outtype q4_0|f16]   -> OUT/text.gguf, OUT/mmproj.gguf"""
import argparse
import json
from pathlib import Path

import gguf
import numpy as np

from gguf_stream import Stream
from gguf_tower import write_tower
from weights import Weights

DECODER = {  # of a layer: ours -> llama.cpp's
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down"}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def architecture(config, text):
    if config["model_type"] == "qwen2_vl":
        return "qwen2vl"
    return {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}[text["model_type"]]


def add_settings(stream, arch, text):
    w = stream.writer
    heads = text["num_attention_heads"]
    w.add_block_count(text["num_hidden_layers"])
    w.add_context_length(text["max_position_embeddings"])
    w.add_embedding_length(text["hidden_size"])
    w.add_feed_forward_length(text["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(text["num_key_value_heads"])
    w.add_layer_norm_rms_eps(text["rms_norm_eps"])
    w.add_rope_freq_base(text["rope_theta"])
    w.add_rope_dimension_count(text["hidden_size"] // heads)
    w.add_vocab_size(text["vocab_size"])
    if arch == "qwen2vl":
        w.add_rope_dimension_sections(text["rope_scaling"]["mrope_section"] + [0])


def add_tokenizer(stream, folder, arch, vocab_size):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    special = {token["id"] for token in tokenizer["added_tokens"]}
    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    types = [gguf.TokenType.UNUSED] * vocab_size
    for token, number in vocab.items():
        tokens[number] = token
        types[number] = gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL
    if "\u010a\u010a" not in vocab:  # two newlines, which llama.cpp looks up before an overview
        plain = next(i for i in range(vocab_size)
                     if i not in special and types[i] == gguf.TokenType.NORMAL and len(tokens[i]) > 2)
        tokens[plain] = "\u010a\u010a"
    w = stream.writer
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe" if arch == "llama" else "qwen2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(["\u0120 a"])  # " a", the word that benches repeat
    w.add_eos_token_id(vocab[config["eos_token"]])
    w.add_bos_token_id(vocab[config.get("bos_token", config["eos_token"])])
    w.add_add_bos_token("bos_token" in config)
    w.add_chat_template(config["chat_template"])


def interleaved(rows, heads):
    """Rows of a query or key projection in the order of llama.cpp's rotary pairs."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def decoder_prefix(weights):
    """Idefics3's decoder has no head of its own, so its parts have no "model" before them."""
    inner = "language_model.model."
    return inner if f"{inner}norm.weight" in weights else "language_model."


def add_decoder(stream, weights, arch, text, matrices):
    prefix = decoder_prefix(weights)
    stream.add("token_embd.weight", matrices, lambda: weights.rows(prefix + "embed_tokens"),
               weights.shape(prefix + "embed_tokens"))
    stream.add("output_norm.weight", "f32", lambda: weights.plain(prefix + "norm.weight"))
    if "language_model.lm_head.weight" in weights:
        stream.add("output.weight", matrices, lambda: weights.rows("language_model.lm_head"),
                   weights.shape("language_model.lm_head"))
    heads = {"attn_q": text["num_attention_heads"], "attn_k": text["num_key_value_heads"]}
    for layer in range(text["num_hidden_layers"]):
        ours = f"{prefix}layers.{layer}."
        for name, theirs in NORMS.items():
            stream.add(f"blk.{layer}.{theirs}.weight", "f32",
                       lambda n=f"{ours}{name}.weight": weights.plain(n))
        for name, theirs in DECODER.items():
            turn = heads.get(theirs) if arch == "llama" else None

            def rows(path=ours + name, turn=turn):
                found = weights.rows(path)
                return interleaved(found, turn) if turn else found

            stream.add(f"blk.{layer}.{theirs}.weight", matrices, rows, weights.shape(ours + name))
            if f"{ours}{name}.bias" in weights:
                stream.add(f"blk.{layer}.{theirs}.bias", "f32",
                           lambda n=f"{ours}{name}.bias": weights.plain(n))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--outtype", choices=["q4_0", "f16"], default="q4_0")
    arguments = parser.parse_args()
    weights = Weights(arguments.folder)
    config = weights.config
    text = config.get("text_config") or config
    arch = architecture(config, text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    stream = Stream(arguments.out / "text.gguf", arch)
    add_settings(stream, arch, text)
    add_tokenizer(stream, arguments.folder, arch, text["vocab_size"])
    add_decoder(stream, weights, arch, text, arguments.outtype)
    stream.write()
    write_tower(arguments.out / "mmproj.gguf", arguments.folder, weights)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
