"""Answers of one reader of models/fovea-tiny to the check's pictures, as JSON lines on standard
output: reader_answers.py fovea|transformers|mlx_vlm FOLDER, where FOLDER holds N.png and
questions.json."""
import json
import os
import sys
from pathlib import Path

MODEL = str(Path(__file__).resolve().parents[2] / "models/fovea-tiny")
LONGEST = 40


def mlx_vlm_engine(model):
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_vlm import generate, load
    from mlx_vlm.prompt_utils import apply_chat_template
    network, processor = load(model)
    # In bf16 arithmetic a coordinate may come out one off; the weights are the same numbers.
    network.update(tree_map(lambda a: a.astype(mx.float32), network.parameters()))

    def ask(path, prompt):
        text = apply_chat_template(processor, network.config, prompt, num_images=1)
        told = generate(network, processor, text, image=[str(path)], max_tokens=LONGEST,
                        temperature=0.0, verbose=False)
        return told.text
    return ask


def picture_engine(name):
    from PIL import Image
    import evaluate
    os.environ["FOVEA_EXACT"] = "2"  # float32 products, as the others have here
    ask = (evaluate.fovea_engine if name == "fovea" else evaluate.transformers_engine)(MODEL)
    return lambda path, prompt: ask(Image.open(path).convert("RGB"), prompt)


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    ask = mlx_vlm_engine(MODEL) if name == "mlx_vlm" else picture_engine(name)
    for number, prompt in enumerate(json.loads((folder / "questions.json").read_text())):
        print(json.dumps(ask(folder / f"{number}.png", prompt)), flush=True)


if __name__ == "__main__":
    main()
