#!/usr/bin/env python3
"""Style as a test: fails on what the house forbids, lists where to look.

Fails on: an include against the ladder, a cycle between files, a third-party header outside its
one or two homes, a source that no CMakeLists.txt lists, a src/ folder without its line in
ARCHITECTURE.md, a file over 600 or a line over 100, a function over 70, a banned file name, an
unfinished-work mark, a parity fixture over 500 kB or with a narrow greedy token. Prints the longest files and functions as places to look at.
Usage: tools/tidy/tidy.py [ROOT]; exit code 1 when anything failed.
"""
import json
import re
import sys
from pathlib import Path

# Rooms by floor; a room includes only rooms on lower floors (core may include base).
FLOORS = {
    "base": 0, "core": 1, "hub": 2, "kernels": 2, "media": 2, "nn": 3, "speech": 3, "models": 4, "processors": 4, "convert": 5, "generate": 5,
    "live": 6, "train": 6, "serve": 7, "chat": 7, "agent": 7, "cli": 8,
}
WITHOUT_MLX = {"base", "core", "hub", "media", "processors", "speech"}
# Third-party headers and the only files that may name them (a file name without ending).
HOMES = {
    r"boost/json": {"base/json"},
    r"boost/(asio|beast|url)": {"base/http_client"},
    r"openssl/": {"base/http_client", "base/sha256", "hub/digest"},
    r"fmt/": {"base/format"},
    r"fovea_rust\.h": {"processors/rust_call", "nn/safetensors"},
    r"CLI/": None,  # anywhere in cli
    r"jpeglib\.h": {"media/picture/jpeg"},
    r"spng\.h": {"media/picture/png"},
    r"webp/": {"media/picture/webp", "media/animated_webp"},
    r"lib(av|sw)\w+/": {"media/ffmpeg"},
    r"lcms2\.h": {"media/picture/colours"},
    r"tiffio": {"media/picture/tiff"},
    r"libheif/": {"media/picture/heif"},
    r"gif_lib\.h": {"media/picture/gif"},
    r"zlib\.h": {"generate/speech/whisper_rules"},
    r"kissfft/": {"processors/audio/mel_spectrogram"},
}
FILE_LINES_MAX = 600
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FIXTURE_BYTES_MAX = 500_000  # a family's folder of tests/fixtures/parity, docs/parity.md
MARGIN_MIN = 0.15  # of greedy tokens, as in tools/reference/case_files.py
BANNED_NAMES = re.compile(r"(^|_)(utils?|common|helpers?|misc|managers?|impl2|new|v2)(_|$)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
INCLUDE = re.compile(r'^\s*#include\s+[<"]([^>"]+)[>"]', re.M)


def strip_literals(text):
    """Blanks comments, strings and character literals, keeping line breaks."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def functions(text):
    """Yields (first line, lines) of each brace block that follows a parameter list."""
    clean = strip_literals(text)
    stack = []
    line = 1
    for position, char in enumerate(clean):
        if char == "\n":
            line += 1
        elif char == "{":
            before = clean[max(0, position - 300):position].rstrip()
            before = re.sub(r"\s*(const|noexcept|override|final|mutable|->\s*[\w:<>,\s*&]+)$", "", before)
            before = re.sub(r"\s*(const|noexcept|override)$", "", before).rstrip()
            is_body = before.endswith(")") and not re.search(
                r"\b(if|for|while|switch|catch)\s*\([^{};]*\)$", before)
            stack.append((line, is_body))
        elif char == "}" and stack:
            first, is_body = stack.pop()
            if is_body:
                yield first, line - first + 1


class Tidy:
    def __init__(self, root):
        self.root = root
        self.src = root / "src"
        self.failures = []
        self.lengths = []
        self.function_lengths = []

    def fail(self, where, message):
        self.failures.append(f"{where}: {message}")

    def sources(self):
        for path in sorted(self.src.rglob("*")):
            if path.suffix in (".h", ".cpp"):
                yield path, path.relative_to(self.src)

    def check_include(self, path, include):
        room = path.parts[0]
        other = include.split("/")[0]
        if other in FLOORS and (self.src / include).exists():
            if other != room and FLOORS[other] >= FLOORS[room]:
                self.fail(path, f"{room} may not include {include}: the ladder goes down only")
            return
        if include.startswith("mlx/") and room in WITHOUT_MLX:
            self.fail(path, f"MLX is not visible in {room}")
        for pattern, homes in HOMES.items():
            if not re.match(pattern, include):
                continue
            stem = str(path.with_suffix(""))
            allowed = room == "cli" if homes is None else stem in homes
            if not allowed and not stem.endswith("_test"):
                self.fail(path, f"<{include}> belongs behind {sorted(homes or ['cli'])}")

    def check_text(self, path, text):
        lines = text.split("\n")
        self.lengths.append((len(lines), str(path)))
        if len(lines) > FILE_LINES_MAX:
            self.fail(path, f"{len(lines)} lines, at most {FILE_LINES_MAX}")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_COLUMNS_MAX:
                self.fail(path, f"line {number} has {len(line)} columns, at most {LINE_COLUMNS_MAX}")
            if UNFINISHED.search(line):
                self.fail(path, f"line {number} marks unfinished work")
        if BANNED_NAMES.search(path.stem):
            self.fail(path, "the name says nothing: name the thing")
        for first, count in functions(text):
            self.function_lengths.append((count, f"{path}:{first}"))
            if count > FUNCTION_LINES_MAX:
                self.fail(path, f"function at line {first} has {count} lines, at most {FUNCTION_LINES_MAX}")

    def check_cycles(self, graph):
        state = {}

        def walk(node, trail):
            state[node] = "open"
            for other in graph.get(node, ()):
                if state.get(other) == "open":
                    loop = trail[trail.index(other):] if other in trail else [node]
                    self.fail(node, "include cycle: " + " -> ".join(loop + [other]))
                elif other not in state:
                    walk(other, trail + [other])
            state[node] = "done"

        for node in graph:
            if node not in state:
                walk(node, [node])

    def check_lists(self):
        for path, relative in self.sources():
            if path.suffix != ".cpp" or path.stem.endswith("_test"):
                continue
            folder = self.src / relative.parts[0]
            listing = (folder / "CMakeLists.txt")
            name = str(path.relative_to(folder))
            if not listing.exists() or not re.search(r"(^|[\s(])" + re.escape(name) + r"($|[\s)])",
                                                     listing.read_text(), re.M):
                self.fail(relative, "no CMakeLists.txt lists this source")

    def check_architecture(self):
        page = self.root / "ARCHITECTURE.md"
        text = page.read_text() if page.exists() else ""
        for folder in sorted(p for p in self.src.iterdir() if p.is_dir()):
            if folder.name not in FLOORS:
                self.fail(f"src/{folder.name}", "this room has no floor in tools/tidy")
            if f"`{folder.name}/`" not in text:
                self.fail(f"src/{folder.name}", "no line in ARCHITECTURE.md")

    def check_fixtures(self):
        parity = self.root / "tests/fixtures/parity"
        families = [*parity.glob("*"), *(self.root / "tests/fixtures/speech").glob("*")]
        for family in sorted(families):
            size = sum(path.stat().st_size for path in family.rglob("*") if path.is_file())
            where = family.relative_to(self.root)
            if size > FIXTURE_BYTES_MAX:
                self.fail(where, f"{size} bytes, at most {FIXTURE_BYTES_MAX}")
        for manifest in sorted(parity.glob("*/cases/*/manifest.json")):
            margin = json.loads(manifest.read_text())["smallest_greedy_margin"]
            if margin < MARGIN_MIN:
                self.fail(manifest.relative_to(self.root), f"a greedy token wins by {margin}, at least {MARGIN_MIN}")

    def run(self):
        graph = {}
        for path, relative in self.sources():
            text = path.read_text()
            self.check_text(relative, text)
            includes = INCLUDE.findall(text)
            for include in includes:
                self.check_include(relative, include)
            graph[str(relative)] = [i for i in includes if (self.src / i).exists()]
        self.check_cycles(graph)
        self.check_lists()
        self.check_architecture()
        self.check_fixtures()
        return self.failures


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    tidy = Tidy(root)
    failures = tidy.run()
    longest = sorted(tidy.lengths, reverse=True)[:5]
    print("longest files:", ", ".join(f"{name} {count}" for count, name in longest))
    longest = sorted(tidy.function_lengths, reverse=True)[:5]
    print("longest functions:", ", ".join(f"{name} {count}" for count, name in longest))
    for failure in failures:
        print("tidy:", failure)
    print(f"tidy: {len(tidy.lengths)} files, {len(failures)} findings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
