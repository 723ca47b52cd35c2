"""What every notebook begins with: which folder it reads, and how it says something."""

from __future__ import annotations

import os
from pathlib import Path


def folder_of(name: str, variable: str = "R1_RUN") -> Path:
    """The folder that the environment variable names, else `notebooks/data/<name>`, looked for from here upwards.

    So a notebook runs as it was shipped, and on a run of one's own: R1_RUN=runs/<name>/<time> jupyter lab notebooks
    """
    given = os.environ.get(variable)
    if given:
        if not Path(given).is_dir():
            raise ValueError(f"{variable} names no folder: {given} (from {Path.cwd()})")
        return Path(given)
    here = Path.cwd()
    for above in (here, *here.parents):
        for found in (above / "data" / name, above / "notebooks" / "data" / name):
            if found.is_dir():
                return found
    raise ValueError(f"no notebooks/data/{name} at or above {here}; start in the repository, or name a folder with {variable}=")


def say(text: str) -> None:
    """Markdown, rendered where there is a notebook and printed where there is none."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import Markdown, display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
    else:
        display(Markdown(text))
