"""Execute notebooks and write the paired .ipynb with its outputs: python notebooks/execute.py [notebooks/NAME.py ...]

The .py file is the source. Without names, every py:percent file of this folder is executed. Wants the extra `viz`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    for source in parser.parse_args().notebooks or sources():
        print(source.name, flush=True)
        execute(source)


def sources() -> list[Path]:
    return [path for path in sorted(HERE.glob("*.py")) if "format_name: percent" in path.read_text(encoding="utf-8")[:500]]


def execute(source: Path) -> Path:
    """Run in the notebooks' folder; outputs are kept, times and random cell names are not, so that a rerun changes what changed."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
        cell.metadata.pop("execution", None)
        cell["outputs"] = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"] if cell.cell_type == "code" else []
        if cell.cell_type != "code":
            del cell["outputs"]
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target)
    return target


if __name__ == "__main__":
    main()
