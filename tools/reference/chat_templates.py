"""tests/fixtures/templates: templates in the manner of released ones, as transformers renders them.

A .jinja file is one template; each line of a .lines file is one, all with the file's own context.
"""

import json
import shutil
import sys
from datetime import datetime
from pathlib import Path

from jinja2.exceptions import SecurityError, TemplateError, UndefinedError
from transformers.utils import chat_template_utils

from rows import made_with, write_rows

NOW = datetime(2026, 3, 7, 14, 5, 9)
TEMPLATES = Path(__file__).parent / "templates"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def text(value):
    return {"type": "text", "text": value}


IMAGE = {"type": "image"}
CALL = {
    "type": "function",
    "id": "abcdef123",
    "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3, "exact": True}},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {
                    "city": {"type": "string", "description": 'Name, for example "Paris" '},
                    "days": {"type": ["integer", "null"]},
                    "units": {"type": "array", "items": {"type": "string"}},
                },
            },
            "return": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time.",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]
ONE = [message("user", "  What is this?\n")]
TURNS = [
    message("system", "Be brief."),
    message("user", "Hi"),
    message("assistant", ' Hello <b>"you"</b>! '),
    message("user", "日本語で 😀"),
]
NO_SYSTEM = TURNS[1:]
PARTS = [
    message("user", [IMAGE, text("What is this?")]),
    message("assistant", [text("A cat.")]),
    message("user", [text("And this?"), IMAGE, IMAGE]),
]
SYSTEM_PARTS = [message("system", [text("Be brief.")]), *PARTS]
WITH_CALL = [
    message("user", "Weather?"),
    {**message("assistant", None), "tool_calls": [CALL]},
    message("tool", '{"t": 21.5}', tool_call_id="abcdef123", name="get_weather"),
    message("assistant", "It is warm."),
    message("user", "Thanks"),
]
THINKING = [
    message("user", "2+2?"),
    message("assistant", "<think>\nadd\n</think>\n\n4"),
    message("user", "3+3?"),
    message("assistant", "\n\n6", reasoning_content="\nadd again\n"),
]
VALUE = {
    "b": [1, 2.0, -0.5, 1e20, None, True, False],
    "a": 'été 漢字 😀 \u2028 "quoted" \\ \n\t\u0001',
    "nested": {"z": {}, "y": [], "x": [[], [{}]]},
    "": 0,
    "big": 12345678901234567890,
}
PEOPLE = [
    {"name": "Ann", "age": 31, "member": True},
    {"name": "Bo", "age": 25, "member": False},
    {"name": "Cy", "age": 47},
]


def chat(messages, **more):
    return {"messages": messages, "add_generation_prompt": True, **TOKENS, **more}


CONTEXTS = {
    "llava_15": [chat(PARTS), chat(SYSTEM_PARTS), chat(PARTS, add_generation_prompt=False)],
    "qwen2_vl": [
        chat(ONE),
        chat(TURNS),
        chat(PARTS),
        chat(SYSTEM_PARTS, add_vision_id=True),
        chat(
            [
                message(
                    "user",
                    [{"type": "image_url", "image_url": {"url": "x"}}, {"video": "v"}, text("?")],
                )
            ]
        ),
    ],
    "llama_3": [chat(ONE), chat(TURNS), chat(TURNS, add_generation_prompt=False)],
    "llama_31_tools": [
        chat(ONE),
        chat(TURNS, date_string="1 Jan 2025"),
        chat(ONE, tools=TOOLS),
        chat(WITH_CALL, tools=TOOLS),
        chat([message("system", "S")], tools=TOOLS),
        chat([message("user", "a"), {**message("assistant", ""), "tool_calls": [CALL, CALL]}]),
    ],
    "mistral_instruct": [
        chat(ONE),
        chat(TURNS),
        chat(WITH_CALL, tools=TOOLS),
        chat(TURNS[:1] + TURNS[2:]),
        chat(
            [
                message("user", "a"),
                {**message("assistant", ""), "tool_calls": [{**CALL, "id": "x"}]},
            ]
        ),
    ],
    "gemma_2": [chat(ONE), chat(NO_SYSTEM), chat(TURNS), chat(NO_SYSTEM[1:])],
    "gemma_3": [chat(ONE), chat(TURNS), chat(SYSTEM_PARTS), chat([message("user", 5)])],
    "llama_32_vision": [
        chat(ONE),
        chat(TURNS),
        chat(PARTS),
        chat([message("system", "Be brief."), *PARTS]),
    ],
    "phi_3": [
        chat(TURNS),
        chat(ONE, add_generation_prompt=False),
        chat([message("system", ""), *ONE]),
    ],
    "deepseek_r1": [
        chat(ONE),
        chat(TURNS),
        chat(WITH_CALL),
        chat(THINKING),
        {"messages": ONE, **TOKENS},
    ],
    "qwen3_thinking": [
        chat(TURNS),
        chat(TURNS, tools=TOOLS),
        chat(WITH_CALL, tools=TOOLS),
        chat(THINKING),
        chat(ONE, enable_thinking=False),
        chat(THINKING[:2]),
    ],
    "smolvlm": [chat(PARTS), chat(SYSTEM_PARTS)],
    "command_r": [chat(ONE), chat(TURNS)],
    "hermes_typed_tools": [chat(ONE, tools=TOOLS)],
    "tojson_forms": [{"value": VALUE}, {"value": "plain"}, {"value": [1, [2, [3]]]}],
    "filters": [
        {"names": ["Ann", "Bo", "Cy"], "people": PEOPLE, "table": {"b": 2, "a": 1, "C": 3}}
    ],
    "string_methods": [
        {
            "table": {"b": 2, "a": 1},
            "c": "<think>日本語</think>答え é",
            "items": {"items": 1, "get": 2},
        }
    ],
    "slices": [{"items": ["a", "b", "c", "d"], "nested": {"a": {"b": [1, 2]}}}],
    "tests_and_operators": [{"a": 1, "spec": {"a": "b", "c": [None, True, "it's"]}}],
    "loops": [
        {
            "items": ["a", "b", "c", "d"],
            "tree": [{"name": "r", "children": [{"name": "s"}, {"name": "t"}]}],
        }
    ],
    "macros_and_blocks": [
        {
            "value": "v",
            "spec": {
                "type": "object",
                "properties": {
                    "b": {"type": "string"},
                    "a": {"type": "object", "properties": {"c": {"type": "int"}}},
                },
            },
        }
    ],
    "whitespace": [{}],
    "crlf": [chat(TURNS)],
    "generation": [{"numbers": [1, 2]}],
    "raise_by_role": [chat(TURNS), chat([message("robot", "x")])],
    "dates": [{}],
    "documents": [chat(ONE), chat(ONE, documents=[{"title": "T", "text": "x\ny"}, {"title": "U"}])],
    "pixtral_chunks": [chat(PARTS), chat(NO_SYSTEM), chat([message("user", [{"type": "audio"}])])],
    "internvl_join": [
        chat(SYSTEM_PARTS[1:]),
        chat(TURNS),
        chat(PARTS, add_generation_prompt=False),
    ],
    "undefined_use": [{"message": {"role": "user"}}],
    "sandbox": [chat(ONE)],
    "attribute_escape": [{}],
}


def render(source, context):
    """The text, or the sentence that the template raised, or the kind of failure."""
    try:
        template = chat_template_utils._compile_jinja_template(source)
        return {"expected": template.render(**json.loads(json.dumps(context)))}
    except (UndefinedError, SecurityError) as error:
        return {"fails": type(error).__name__}
    except TemplateError as error:
        return {"error": str(error)}


def main(root):
    chat_template_utils.datetime = FrozenClock
    folder = Path(root) / "templates"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    count = 0
    for path in sorted(TEMPLATES.iterdir()):
        with path.open(newline="") as file:  # as it is, carriage returns included
            source = file.read().removesuffix("\n")
        sources = source.split("\n") if path.suffix == ".lines" else [source]
        cases = [
            {"template": index, "context": context, **render(each, context)}
            for index, each in enumerate(sources)
            for context in CONTEXTS[path.stem]
        ]
        if path.suffix == ".lines":
            cases = [{key: case[key] for key in case if key != "context"} for case in cases]
        content = {
            "made_with": made_with("transformers", "jinja2"),
            "now": NOW.isoformat(),
            "templates": sources,
            "cases": cases,
        }
        if path.suffix == ".lines":
            content["context"] = CONTEXTS[path.stem][0]
        write_rows(folder / f"{path.stem}.json", content)
        count += len(cases)
    print(f"{len(CONTEXTS)} templates, {count} renderings")


if __name__ == "__main__":
    main(sys.argv[1])
