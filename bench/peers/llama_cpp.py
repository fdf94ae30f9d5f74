"""llama.cpp's own programs, and what they print."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parents[2] / "build" / "peers"
BIN = PEERS / "llama-build" / "bin"


def converted(folder):
    """The folder with text.gguf and mmproj.gguf of a checkpoint, made on demand."""
    out = PEERS / "gguf" / folder.name
    if not (out / "mmproj.gguf").exists():
        python = PEERS / "gguf-venv" / "bin" / "python"
        subprocess.run([python, Path(__file__).with_name("to_gguf.py"), folder, out], check=True,
                       stdout=sys.stderr)
    return out


def peak_bytes_of(command):
    """(output, peak resident bytes) of a program; standard error is part of the output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}:\n{output[-3000:]}")
    return output, usage.ru_maxrss * 1024


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, folder, threads):
        self.folder = converted(folder)
        self.threads = str(threads)

    def text(self, prompt_tokens, new_tokens, depth=0):
        """(prompt tokens a second, new tokens a second at this depth), one run each."""
        command = [BIN / "llama-bench", "-m", self.folder / "text.gguf", "-t", self.threads, "-r",
                   "1", "-p", str(prompt_tokens), "-n", str(new_tokens), "-d", str(depth), "-o",
                   "json"]
        rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        prompt = next(row["avg_ts"] for row in rows if row["n_prompt"])
        return prompt, next(row["avg_ts"] for row in rows if row["n_gen"])

    def picture(self, image, text, new_tokens):
        """vision_ms, first_token_ms (encoding and the prompt; loading is not in it), peak bytes."""
        command = [BIN / "llama-mtmd-cli", "-m", self.folder / "text.gguf", "--mmproj",
                   self.folder / "mmproj.gguf", "--image", str(image), "-p", text, "-n",
                   str(new_tokens), "-t", self.threads, "--temp", "0", "-c", "8192", "--jinja",
                   "-lv", "4"]  # below 4 the library keeps its timings to itself
        output, peak = peak_bytes_of(command)
        encoded = [int(ms) for ms in re.findall(r"(?:encoded|encoding done) in (\d+) ms",
                                                 output)]
        prompt = re.search(r"prompt eval time =\s*([\d.]+) ms /\s*(\d+) tokens", output)
        if not encoded or not prompt:
            raise SystemExit(f"llama-mtmd-cli printed no timings:\n{output[-3000:]}")
        vision = sum(encoded)
        return {"vision_ms": vision, "first_token_ms": vision + float(prompt[1]),
                "tokens": int(prompt[2]), "peak_memory": peak}
