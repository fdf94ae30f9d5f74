"""JSON with a line for each case, so that a diff shows the case that changed."""

import json
from importlib.metadata import version


def made_with(*packages):
    return {package: version(package) for package in packages}


def one_line(value):
    return json.dumps(value, ensure_ascii=False)


def in_rows(value):
    if isinstance(value, list) and value and isinstance(value[0], (dict, str)):
        return "[\n  " + ",\n  ".join(one_line(entry) for entry in value) + "\n ]"
    if isinstance(value, dict) and value:
        rows = (f"{one_line(key)}: {one_line(entry)}" for key, entry in value.items())
        return "{\n  " + ",\n  ".join(rows) + "\n }"
    return one_line(value)


def write_rows(path, content):
    members = (f"{one_line(key)}: {in_rows(value)}" for key, value in content.items())
    path.write_text("{\n " + ",\n ".join(members) + "\n}\n")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
