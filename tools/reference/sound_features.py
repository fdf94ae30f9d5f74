"""tests/fixtures/processors/sound: log mel rows by Hugging Face's and mlx-vlm's classes.

Sums and every stride-th value of [frames, mels]. The sound comes from a formula in whole numbers.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from mlx_vlm.models.phi4mm.processing_phi4mm import Phi4MMAudioFeatureExtractor
from transformers import WhisperFeatureExtractor
from transformers.models.gemma3n import Gemma3nAudioFeatureExtractor
from transformers.models.gemma4 import Gemma4AudioFeatureExtractor

from rows import made_with, write_rows

RATE = 16000
STRIDE = 97  # no divisor of 80 or 128


def sound(count):
    """A triangle wave that rises in pitch, loud, silent and soft in turns."""
    i = np.arange(count, dtype=np.int64)
    phase = (i * i // 64 + 37 * i) % 4096
    wave = (np.abs(phase - 2048) - 1024) / 1024
    return (wave * np.array([8, 0, 1])[i // 4000 % 3] / 16).astype(np.float32)


def whisper(mels):
    extractor = WhisperFeatureExtractor(feature_size=mels)
    return lambda x: extractor(x, sampling_rate=RATE, return_tensors="np").input_features[0].T


def phi4(x):
    return np.array(Phi4MMAudioFeatureExtractor()([(x, RATE)])["input_audio_embeds"][0])


def exact(kind):
    """In doubles: in floats, what is 100 dB below the loudest is rounding."""

    class Exact(kind):
        def _extract_spectrogram(self, waveform, attention_mask):
            return super()._extract_spectrogram(waveform.astype(np.float64), attention_mask)

    extractor = Exact()
    turns = np.arange(extractor.frame_length) / extractor.frame_length
    extractor.window = 0.5 - 0.5 * np.cos(2 * np.pi * turns)
    return extractor


def gemma(kind):
    extractor = exact(kind)
    return lambda x: extractor([x], return_tensors="np").input_features[0]


def filled(kind):
    return lambda x: int(kind()([x], return_tensors="np").input_features_mask[0].sum())


def main(root):
    warnings.simplefilter("ignore")
    fronts = {
        "whisper-80": (whisper(80), None),
        "whisper-128": (whisper(128), None),
        "phi4": (phi4, None),
        "gemma3n": (gemma(Gemma3nAudioFeatureExtractor), filled(Gemma3nAudioFeatureExtractor)),
        "gemma4": (gemma(Gemma4AudioFeatureExtractor), filled(Gemma4AudioFeatureExtractor)),
    }
    cases = []
    for name, (front, count) in fronts.items():
        for samples in (16000 * 3 + 77, 5000, 480000):
            x = sound(samples)
            rows = np.asarray(front(x), np.float64)
            case = {
                "front": name,
                "samples": samples,
                "shape": list(rows.shape),
                "sum": round(float(rows.sum()), 4),
                "values": [round(float(v), 6) for v in rows.reshape(-1)[:: STRIDE * (1 + samples // 60000)]],
            }
            if count:
                case["filled"] = count(x)
            cases.append(case)
    folder = Path(root) / "processors" / "sound"
    folder.mkdir(parents=True, exist_ok=True)
    made = made_with("transformers", "mlx-vlm", "numpy")
    write_rows(folder / "cases.json", {"made_with": made, "stride": STRIDE, "cases": cases})


if __name__ == "__main__":
    main(sys.argv[1])
