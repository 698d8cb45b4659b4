#!/usr/bin/env python3
"""embed.py OUT.c NNNN_name.sql ...: the numbered migrations as a C table, in order."""
import pathlib
import sys


def quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return "\n".join(f'\t\t"{line}\\n"' for line in escaped.splitlines())


def main():
    out, *names = sys.argv[1:]
    rows = []
    for number, name in enumerate(sorted(names, key=lambda n: pathlib.Path(n).name), 1):
        path = pathlib.Path(name)
        if not path.name.startswith(f"{number:04d}_"):
            sys.exit(f"{path.name} should begin with {number:04d}_: migrations have no gaps")
        rows.append(f'\t{{\n\t\t.name = "{path.name}",\n\t\t.sql =\n{quoted(path.read_text())},\n\t}},')
    pathlib.Path(out).write_text(
        '#include "schema.h"\n\nconst struct schema_step schema_steps[] = {\n'
        + "\n".join(rows) + f"\n}};\n\nconst unsigned schema_step_count = {len(rows)};\n")


main()
