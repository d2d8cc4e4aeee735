"""Runs every benchmark and writes docs/benchmarks.md: `python -m benchmarks [NAME …]`.

With names, only those sections are measured again; the others stay as they are.
"""

import importlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before NumPy is loaded: processor time, one thread

NAMES = (
    "regmix_reproduction",
    "surrogates",
    "fit_speed",
    "geometry",
    "http",
    "swarm_cpu",
    "dispatch",
    "asking",
    "replay",
    "replay_http",
    "optimizing",
    "climb",
    "online",
    "online_real",
    "schedules",
    "planning",
    "trainings",
    "step_end",
    "blocks",
    "quadmix_search",
    "quadmix",
    "space_surrogates",
    "applying",
    "averaging",
    "regmix_d",
)
FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
PAGE = FOLDER.with_suffix(".md")
HEAD = """# Benchmarks

Measured by `make bench`; every section says on which machine and when. The machines were shared
with others, so ratios hold better than times. `python -m benchmarks NAME` measures one again.
"""


def main() -> None:
    """Measure the named benchmarks, or all, and put the page together."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        print(f"measuring {name} …", flush=True)
        sections = importlib.import_module(f"benchmarks.{name}").sections()
        stamp = f"*`python -m benchmarks {name}`, {datetime.now(UTC):%Y-%m-%d}.*\n"
        text = "\n".join(section.markdown() for section in sections)
        (FOLDER / f"{name}.md").write_text(f"{text}\n{stamp}")
    parts = [FOLDER / f"{name}.md" for name in NAMES]
    PAGE.write_text("\n".join([HEAD, *(part.read_text() for part in parts if part.exists())]))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
