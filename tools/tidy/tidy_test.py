#!/usr/bin/env python3
"""Each rule of tidy.py finds the fault it is there for, in a small tree made for it."""
import tempfile
import unittest
from pathlib import Path

from tidy import Tidy


class TidyTest(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "ARCHITECTURE.md").write_text("- `base/` tools\n- `nn/` blocks\n- `core/` nouns\n")
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return Tidy(root).run()

    def assert_finds(self, part, files):
        found = self.findings(files)
        self.assertTrue(any(part in line for line in found), found)

    def test_clean_tree_has_no_findings(self):
        files = {"src/base/CMakeLists.txt": "fovea_folder(base SOURCES a.cpp)",
                 "src/base/a.cpp": '#include "base/a.h"\n', "src/base/a.h": "#pragma once\n"}
        self.assertEqual(self.findings(files), [])

    def test_upward_include(self):
        self.assert_finds("ladder", {"src/base/a.h": '#include "nn/b.h"\n', "src/nn/b.h": ""})

    def test_mlx_where_it_is_hidden(self):
        self.assert_finds("MLX is not visible", {"src/core/a.h": '#include "mlx/array.h"\n'})

    def test_third_party_header_away_from_home(self):
        self.assert_finds("belongs behind", {"src/core/a.h": "#include <boost/json.hpp>\n"})

    def test_cycle(self):
        self.assert_finds("include cycle", {"src/base/a.h": '#include "base/b.h"\n',
                                            "src/base/b.h": '#include "base/a.h"\n'})

    def test_unlisted_source(self):
        self.assert_finds("lists this source", {"src/base/CMakeLists.txt": "fovea_folder(base)",
                                                "src/base/a.cpp": ""})

    def test_room_without_a_line_in_architecture(self):
        self.assert_finds("no line in ARCHITECTURE.md", {"src/cli/a.h": ""})

    def test_long_line_file_and_function(self):
        self.assert_finds("columns", {"src/base/a.h": "/" * 101})
        self.assert_finds("lines, at most 600", {"src/base/a.h": "\n" * 601})
        body = "void f() {\n" + "  g();\n" * 75 + "}\n"
        self.assert_finds("function at line 1", {"src/base/a.h": body})

    def test_branches_and_types_are_not_functions(self):
        body = "struct A {\n" + "  int x;\n" * 80 + "};\n"
        self.assertEqual(self.findings({"src/base/a.h": body}), [])

    def test_banned_name_and_unfinished_mark(self):
        self.assert_finds("name the thing", {"src/base/string_utils.h": ""})
        self.assert_finds("unfinished work", {"src/base/a.h": "// TO" + "DO later\n"})

    def test_large_fixture_and_narrow_token(self):
        case = "tests/fixtures/parity/llava/cases/one/"
        self.assert_finds("at most 500000", {"src/base/a.h": "", case + "stages.safetensors": "x" * 500001})
        manifest = case + "manifest.json"
        self.assert_finds("wins by 0.149", {"src/base/a.h": "", manifest: '{"smallest_greedy_margin": 0.149}'})
        self.assertEqual(self.findings({"src/base/a.h": "", manifest: '{"smallest_greedy_margin": 0.15}'}), [])


if __name__ == "__main__":
    unittest.main()
