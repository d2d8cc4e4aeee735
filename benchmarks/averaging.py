"""Averaging checkpoints: time against merely reading them, and memory."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.tables import Section, machine, versions

CHECKPOINTS, TURNS = 10, 2
SHAPES = {"embedding": (50_304, 1024), **{f"layers.{n}": (4096, 1024) for n in range(48)}}
GIGABYTE = 1e9
MEASURE = """
import json, re, sys, time
from pathlib import Path
import numpy as np
import safetensors, torch
from mixwright.checkpoints.averaging import average_checkpoints, sha256_of
what, *paths, out = sys.argv[1:]
paths, out = [Path(path) for path in paths], Path(out)
torch.set_num_threads(1)
def read():
    buffer = bytearray(1 << 22)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before, began, used = peak(), time.perf_counter(), time.process_time()
if what == "read":
    read()
else:
    average_checkpoints(paths, out, np.ones(len(paths)))
if what == "hash":
    sha256_of([*paths, out])
print(json.dumps({
    "seconds": time.perf_counter() - began,
    "processor": time.process_time() - used,
    "above": peak() - before,
    "peak": peak(),
}))
"""
TITLES = {
    "read": "reading",
    "average": "averaging",
    "hash": "averaging, then SHA-256 of all (`--json`)",
}


def prepare(folder, kind):
    """Checkpoints of 1 GB, of the same random numbers."""
    paths = [folder / f"step{number}.{kind}" for number in range(CHECKPOINTS)]
    state = {name: torch.empty(shape).uniform_() for name, shape in SHAPES.items()}
    for path in paths:
        save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    return paths


def measured(what, paths, out):
    """Seconds, seconds of the processor, and bytes of memory, in a process of its own."""
    command = [sys.executable, "-c", MEASURE, what, *map(str, paths), str(out)]
    return json.loads(subprocess.check_output(command))


def rows_of(kind):
    """Rows of the table; what is compared takes turns, so that others' load falls on all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = prepare(folder, kind)
        size = sum(path.stat().st_size for path in paths)
        turns = [
            {what: measured(what, paths, folder / f"mean.{kind}") for what in TITLES}
            for _ in range(TURNS)
        ]
    best = {what: quickest([turn[what] for turn in turns]) for what in TITLES}
    return [row(kind, title, best[what], best["read"], size) for what, title in TITLES.items()]


def quickest(turns):
    """The times of the faster turn, and the memory of the larger one."""
    most = {key: max(turn[key] for turn in turns) for key in ("above", "peak")}
    return {**min(turns, key=lambda one: one["seconds"]), **most}


def row(kind, title, one, read, size):
    """Times as such and against reading; memory."""
    return (
        f".{kind}",
        title,
        f"{one['seconds']:.1f} s",
        f"{one['processor']:.1f} s",
        f"{one['seconds'] / read['seconds']:.1f}× ({one['processor'] / read['processor']:.1f}×)",
        f"{size / one['seconds'] / GIGABYTE:.2f} GB/s",
        f"{one['above'] / GIGABYTE:.2f} GB",
        f"{one['peak'] / GIGABYTE:.2f} GB",
    )


def sections():
    """The section of docs/benchmarks.md."""
    before = os.getloadavg()[0]
    rows = [row for kind in ("safetensors", "pt") for row in rows_of(kind)]
    load = f"{before:.1f} to {os.getloadavg()[0]:.1f}"
    parameters = sum(rows * columns for rows, columns in SHAPES.values())
    words = (
        f"{CHECKPOINTS} checkpoints of {4 * parameters / GIGABYTE:.2f} GB each in fp32, the "
        f"largest tensor {4 * np.prod(SHAPES['embedding']) / GIGABYTE:.2f} GB; the faster of "
        f"{TURNS} turns, torch in one thread, files in the page cache as far as it holds them. "
        "Averaging takes up to four tensors at a time, writes the mean and waits for the disk; "
        "SHA-256 takes as many files at a time as there are processors. Memory is the largest "
        "that was resident in any turn, mapped pages of files among it: above that of Python with "
        "torch, and in all. "
        "Goals: at most 1 GB, and at most twice the time of reading."
    )
    header = (
        "files",
        "",
        "time",
        "processor",
        "against reading (processor)",
        "speed",
        "memory",
        "in all",
    )
    notes = f"{machine()}; {versions('torch', 'safetensors')}; load {load}, shared with others."
    return [Section("Averaging checkpoints", words, header, rows, notes)]
