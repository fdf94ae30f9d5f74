"""tests/fixtures/speech/whisper, by Hugging Face: tiny checkpoints, and what they make of sounds.

Windows last 2 s. Weights are random, so the text is none; every token must win. The sounds
come from the formula of sound_features.py with another pitch.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from rows import made_with, write_json
from sidecars import tokenizer_files
from tiny_tokenizers import byte_level_bpe
from torch_cases import Checkpoint, built, margin_of, quantised, randomise, recording, write_bfloat16

SEED = 9
RATE = 16000
SECONDS = 2
POSITIONS = SECONDS * 50
MELS = 16
MARGIN = 0.03  # tokens are compared where products are exact, to 1e-4
TEXT = 300
LANGUAGES = ["en", "de", "fr", "haw"]
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    *(f"<|{i / 50:.2f}|>" for i in range(POSITIONS + 1)),
]
VOCABULARY = TEXT + len(SPECIAL)


def sound(count, pitch):
    i = np.arange(count, dtype=np.int64)
    phase = (i * i // 64 + pitch * i) % 4096
    wave = (np.abs(phase - 2048) - 1024) / 1024
    return (wave * np.array([8, 0, 1])[i // 4000 % 3] / 16).astype(np.float32)


def configured(**more):
    tokenizer = byte_level_bpe(VOCABULARY, specials=SPECIAL)
    number = tokenizer.token_to_id
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "bos_token_id": number("<|endoftext|>"),
        "d_model": 32,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 64,
        "decoder_layers": 2,
        "decoder_start_token_id": number("<|startoftranscript|>"),
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "encoder_layers": 2,
        "eos_token_id": number("<|endoftext|>"),
        "max_source_positions": POSITIONS,
        "max_target_positions": 24,
        "num_mel_bins": MELS,
        "pad_token_id": number("<|endoftext|>"),
        "scale_embedding": False,
        "vocab_size": VOCABULARY,
        **more,
    }
    tokens = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    return config, {
        "generation_config.json": {
            "alignment_heads": [[0, 1], [1, 0], [1, 3]],
            "begin_suppress_tokens": [number("Ġ"), number("<|endoftext|>")],
            "decoder_start_token_id": number("<|startoftranscript|>"),
            "eos_token_id": number("<|endoftext|>"),
            "is_multilingual": True,
            "lang_to_id": {f"<|{code}|>": number(f"<|{code}|>") for code in LANGUAGES},
            "max_initial_timestamp_index": 50,
            "max_length": 24,
            "no_timestamps_token_id": number("<|notimestamps|>"),
            "pad_token_id": number("<|endoftext|>"),
            "prev_sot_token_id": number("<|startofprev|>"),
            "suppress_tokens": [3, 17, number("<|startoflm|>"), number("<|nospeech|>")],
            "task_to_id": {t: number(f"<|{t}|>") for t in ("transcribe", "translate")},
        },
        "preprocessor_config.json": {
            "chunk_length": SECONDS,
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": MELS,
            "hop_length": 160,
            "n_fft": 400,
            "sampling_rate": RATE,
        },
        **tokenizer_files(tokenizer, tokens),
    }


def released_name(name):
    return None if name.startswith("proj_out.") else name


def mlx_name(name):
    """As mlx-audio names them; the encoder's positions are a formula there."""
    name = name.removeprefix("model.")
    if name.startswith("proj_out.") or name == "encoder.embed_positions.weight":
        return None
    for old, new in (
        ("encoder.layer_norm.", "encoder.ln_post."),
        ("decoder.layer_norm.", "decoder.ln."),
        ("decoder.embed_positions.weight", "decoder.positional_embedding"),
        ("decoder.embed_tokens.", "decoder.token_embedding."),
        ("coder.layers.", "coder.blocks."),
        (".self_attn_layer_norm.", ".attn_ln."),
        (".encoder_attn_layer_norm.", ".cross_attn_ln."),
        (".final_layer_norm.", ".mlp_ln."),
        (".self_attn.", ".attn."),
        (".encoder_attn.", ".cross_attn."),
        (".q_proj.", ".query."),
        (".k_proj.", ".key."),
        (".v_proj.", ".value."),
        (".out_proj.", ".out."),
        (".fc1.", ".mlp1."),
        (".fc2.", ".mlp2."),
    ):
        name = name.replace(old, new)
    return name


def sinusoids(positions, width):
    half = width // 2
    angles = np.arange(positions)[:, None] * np.exp(-np.log(10000) / (half - 1) * np.arange(half))
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


def lively(name, shape, seed):
    """Cross-attention that has a say, a table whose rows differ, and one length of timestamps' rows."""
    rng = np.random.default_rng([seed, *name.encode()])
    values = rng.standard_normal(shape)
    if name.endswith("encoder.embed_positions.weight"):
        values = sinusoids(*shape)
    elif len(shape) < 2:
        values = 1 + 0.1 * values if "norm" in name and name.endswith("weight") else 0.2 * values
    elif "embed_tokens" in name:
        values = values / np.linalg.norm(values, axis=1, keepdims=True) * 2
        values *= np.exp(0.25 * rng.standard_normal((shape[0], 1)))
        values[TEXT + len(SPECIAL) - POSITIONS - 1 :] *= 1.1
    elif "embed_positions" in name:
        values *= 3
    else:
        values = values * 1.3 / np.sqrt(np.prod(shape[1:]))
        if "out_proj" in name or "fc2" in name:
            values *= 4
    return values.astype(np.float32)


def write_mlx_4bit(folder, config, sidecars, model):
    """As mlx-audio converts: products and the table in 4 bits, MLX's own config keys."""
    folder.mkdir(parents=True)
    quantization = {"group_size": 32, "bits": 4, "mode": "affine"}
    sizes = {
        "model_type": "whisper",
        "n_mels": MELS,
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
        "quantization": quantization,
    }
    for name, content in {"config.json": sizes, **sidecars}.items():
        write_json(folder / name, content)
    tensors = {}
    state = model.state_dict()
    for name, parameter in state.items():
        there, weight = mlx_name(name), parameter.numpy()
        if name == "model.encoder.embed_positions.weight":
            state[name].copy_(torch.tensor(sinusoids(*weight.shape)))
        if there is None:
            continue
        if weight.ndim == 2 and weight.shape[1] % 32 == 0 and "position" not in there:
            path = there.removesuffix(".weight")
            packed, scales, biases, weight = quantised(weight, 32)
            tensors |= {there: packed, f"{path}.scales": scales, f"{path}.biases": biases}
        else:
            half = weight.astype(np.float16)
            tensors[there] = np.moveaxis(half, 1, -1) if half.ndim == 3 else half
            weight = half.astype(np.float32)
        state[name].copy_(torch.tensor(weight))
    tensors["alignment_heads"] = np.array([[0, 1], [1, 0], [1, 3]], np.int32)
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, folder / "weights.safetensors", metadata={"format": "mlx"})


class Reference:
    def __init__(self, folder, model):
        self.model = model
        self.folder = folder
        settings = json.loads((folder / "generation_config.json").read_text())
        self.settings = GenerationConfig.from_dict(settings)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.number = {text: i for text, i in zip(SPECIAL, range(TEXT, VOCABULARY))}

    def features(self, x):
        return self.extractor(x, sampling_rate=RATE, return_tensors="pt").input_features

    def language(self, encoded):
        start = torch.tensor([[self.number["<|startoftranscript|>"]]])
        logits = self.model(encoder_outputs=encoded, decoder_input_ids=start).logits[0, -1]
        ids = [self.number[f"<|{code}|>"] for code in LANGUAGES]
        best = logits[ids].topk(2)
        return LANGUAGES[int(best.indices[0])], float((best.values[0] - best.values[1]) / logits.std())

    def processors(self, begin, timestamps):
        more = [self.number[t] for t in ("<|translate|>", "<|transcribe|>", "<|startoftranscript|>",
                "<|startofprev|>", *(f"<|{code}|>" for code in LANGUAGES))]  # fmt: skip
        found = [
            SuppressTokensLogitsProcessor(self.settings.suppress_tokens + more),
            SuppressTokensAtBeginLogitsProcessor(self.settings.begin_suppress_tokens, begin),
        ]
        if timestamps:
            return found + [WhisperTimeStampLogitsProcessor(self.settings, begin_index=begin)]
        return found + [SuppressTokensLogitsProcessor(list(range(VOCABULARY - POSITIONS - 1, VOCABULARY)))]

    def answer(self, x, language, task, timestamps, previous=()):
        """Stages and greedy tokens; the smallest win of a token."""
        features = self.features(x)
        found, wins = {}, []
        with torch.no_grad():
            encoded = self.model.model.encoder(features)
            if language is None:
                language, win = self.language(encoded)
                wins.append(win)
            prompt = [self.number["<|startofprev|>"], *previous] if previous else []
            start = len(prompt)
            prompt += [self.number[f"<|{t}|>"] for t in ("startoftranscript", language, task)]
            prompt += [] if timestamps else [self.number["<|notimestamps|>"]]
            rules = self.processors(len(prompt), timestamps)
            ids = torch.tensor([prompt])
            sum_logprobs = 0
            while ids.shape[1] - len(prompt) < 12 and min(wins, default=9) >= MARGIN:
                with recording(self.model.model.decoder.layers) as hidden:
                    logits = self.model(encoder_outputs=encoded, decoder_input_ids=ids).logits[0]
                if not found:
                    silent = logits[start].softmax(-1)[self.number["<|nospeech|>"]]
                    found = {
                        "input_features": features[0].T.numpy(),
                        "encoder": encoded.last_hidden_state[0].numpy(),
                        "logits": logits[-1].numpy(),
                        **{f"hidden.{i}": h[0].numpy() for i, h in enumerate(hidden)},
                    }
                scores = logits[-1:].clone()
                for rule in rules:
                    scores = rule(ids, scores)
                best = scores[0].topk(2).values
                spread = float(logits[-1].std())
                wins.append(float(best[0] - best[1]) / spread if best[1] > -1e30 else 9)
                wins += self.rival(scores[0], timestamps, logits[-1])
                token = int(scores[0].argmax())
                sum_logprobs += float(scores[0].log_softmax(-1)[token])
                if token == self.number["<|endoftext|>"]:
                    break
                ids = torch.cat([ids, torch.tensor([[token]])], 1)
        tokens = ids[0, len(prompt):].tolist()
        facts = {
            "language": language,
            "tokens": tokens,
            "mean_logprob": sum_logprobs / (len(tokens) + 1),
            "no_speech_probability": float(silent),
        }
        return found, facts, min(wins)

    def rival(self, scores, timestamps, logits):
        """How far the sum of all timestamps is from the likeliest text, which decides between them."""
        first = VOCABULARY - POSITIONS - 1
        if not timestamps:
            return []
        text, times = scores[:first].max(), scores[first:].logsumexp(-1)
        if text < -1e30 or times < -1e30:
            return []
        return [abs(float(text - times)) / float(logits.std())]


def write_case(folder, checkpoint, reference, samples, keep_hidden, **ask):
    """The first pitch at which every token wins."""
    for pitch in range(20, 1000):
        found, facts, win = reference.answer(sound(samples, pitch), **ask)
        words = sum(t < TEXT for t in facts["tokens"])
        if win >= MARGIN and words >= 4 and len(set(facts["tokens"])) >= 4:
            break
    else:
        raise SystemExit(f"{folder.name}: no sound whose tokens win; change SEED")
    folder.mkdir(parents=True)
    kept = {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()
            if keep_hidden or not name.startswith("hidden")}  # fmt: skip
    save_file(kept, folder / "stages.safetensors")
    write_json(
        folder / "case.json",
        {
            "checkpoint": checkpoint,
            "made_with": made_with("transformers", "torch", "numpy"),
            "samples": samples,
            "pitch": pitch,
            "asked": {**ask, "previous": list(ask.get("previous", ()))},
            **facts,
            "smallest_greedy_margin": round(win, 3),
        },
    )


def main(root):
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    folder = Path(root) / "speech" / "whisper"
    shutil.rmtree(folder, ignore_errors=True)
    config, sidecars = configured()
    checkpoint = Checkpoint(
        config, sidecars, released_name,
        lambda config: built(config, WhisperForConditionalGeneration), values=lively,
    )  # fmt: skip
    model = checkpoint.model(config)
    randomise(model, checkpoint, SEED)
    write_bfloat16(folder / "checkpoints" / "hf-bf16", checkpoint, model)
    reference = Reference(folder / "checkpoints" / "hf-bf16", model)
    ask = {"language": "de", "task": "transcribe", "timestamps": True}
    cases = folder / "cases"
    write_case(cases / "timestamps", "hf-bf16", reference, 32000, True, **ask)
    write_case(cases / "short", "hf-bf16", reference, 21000, False, **ask)
    write_case(cases / "detected", "hf-bf16", reference, 30000, False, **{**ask, "language": None})
    write_case(cases / "translate", "hf-bf16", reference, 32000, False,
               **{**ask, "task": "translate", "timestamps": False})  # fmt: skip
    # MLX's keys have no size of a hidden layer: it is four times the width.
    model = checkpoint.model({**config, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128})
    randomise(model, checkpoint, SEED)
    source = folder / "checkpoints" / "mlx-4bit"
    write_mlx_4bit(source, config, sidecars, model)
    reference = Reference(source, model)
    write_case(cases / "4bit", "mlx-4bit", reference, 32000, True, **ask)


if __name__ == "__main__":
    main(sys.argv[1])
