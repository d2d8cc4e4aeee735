"""Training many small models on one thread of a processor: stacked, one by one, vmapped, compiled.

    python -m benchmarks swarm_cpu

The measuring process is started with the environment that training workers have: malloc reads its
thresholds when a process starts.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.tables import Section, machine, versions
from mixwright.proxies import ProxyModel

ROUNDS = 15
SHAPES = {
    "demo: 1 layer, d 64, T 64, 8 sequences": (ProxyModel(1, 64, 4, 80, 64, 256), 8, 16),
    "256 tokens: 2 layers, d 64, T 128, 2 sequences": (ProxyModel(2, 64, 4, 80, 128, 256), 2, 16),
    "256 tokens: 1 layer, d 64, T 64, 4 sequences": (
        ProxyModel(1, 64, 4, 80, 64, 256), 4, 16,
    ),
}  # fmt: skip
FORMS = (
    "plain, one by one",
    "plain, compiled, one by one",
    "plain, vmapped",
    "stacked",
    "stacked, compiled",
)


def stepper(form: str, model: ProxyModel, sequences: int, slots: int) -> Callable[[], None]:
    """A function that trains `slots` models by one step."""
    import torch

    from benchmarks.plain_decoder import Decoder
    from workers.model import initialise
    from workers.order import OptimizerOrder
    from workers.step import begin, train_step

    def draw():  # anew each step: probabilities of a batch known by heart are slow denormals
        return torch.randint(0, model.vocabulary, (slots, sequences, model.context + 1))

    if form.startswith("stacked"):
        state = begin(initialise(model, range(slots)), torch.ones(slots, dtype=torch.bool))
        optimizer = OptimizerOrder(0.01, "wsd", 0.0, 0.0, 0.1, 0.9, 0.95, 1.0, sequences)
        rates = torch.full((slots,), 0.01)
        is_compiled = form.endswith("compiled")
        return lambda: train_step(state, model, draw(), optimizer, rates, is_compiled=is_compiled)
    torch.manual_seed(0)
    if form == "plain, vmapped":
        return _vmapped([Decoder(model) for _ in range(slots)], draw)
    models = [Decoder(model) for _ in range(slots)]
    run = [torch.compile(one) for one in models] if "compiled" in form else models
    optimizers = [torch.optim.AdamW(one.parameters(), lr=0.01, fused=True) for one in models]

    def step():
        for one, forward, optimizer, window in zip(models, run, optimizers, draw(), strict=True):
            optimizer.zero_grad()
            forward(window).backward()
            torch.nn.utils.clip_grad_norm_(one.parameters(), 1.0)
            optimizer.step()

    return step


def _vmapped(models, draw):
    import torch

    parameters, buffers = torch.func.stack_module_state(models)
    parameters = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.01, fused=True)

    def one(parameters, buffers, window):
        return torch.func.functional_call(models[0], (parameters, buffers), (window,))

    def step():
        optimizer.zero_grad()
        torch.func.vmap(one)(parameters, buffers, draw()).sum().backward()
        for slot_norm in [sum(p.grad.flatten(1).square().sum(1) for p in parameters.values())]:
            scale = (1.0 / (slot_norm.sqrt() + 1e-6)).clamp(max=1.0)
            for p in parameters.values():
                p.grad.mul_(scale.view(-1, *[1] * (p.ndim - 1)))
        optimizer.step()

    return step


def measure() -> dict:
    """Tokens per processor second by shape and form, medians of interleaved rounds."""
    import torch

    torch.set_num_threads(1)
    found = {}
    for name, (model, sequences, slots) in SHAPES.items():
        tokens = slots * sequences * model.context
        steps, first = {}, {}
        for form in FORMS:
            began = time.perf_counter()
            steps[form] = stepper(form, model, sequences, slots)
            for _ in range(3):
                steps[form]()
            first[form] = time.perf_counter() - began
        times = {form: [] for form in FORMS}
        for _ in range(ROUNDS):
            for form, step in steps.items():
                began = time.process_time()
                step()
                times[form].append(time.process_time() - began)
        plain = times[FORMS[0]]
        found[name] = {
            form: {
                "speed": tokens / statistics.median(taken),
                "ratio": statistics.median(p / t for p, t in zip(plain, taken, strict=True)),
                "first": first[form],
            }
            for form, taken in times.items()
        }
    return {"shapes": found, "batch": assembly()}


def assembly() -> list:
    """Batch assembly: tokens per processor second, at several shapes and in both modes."""
    import numpy as np

    from workers.sampler import Sampler

    rng = np.random.default_rng(0)
    shards = [rng.integers(0, 256, 1_000_000).astype(np.uint8) for _ in range(9)]
    rows = []
    for context, sequences, slots in ((64, 8, 16), (512, 16, 64), (2048, 16, 32)):
        weights = rng.dirichlet(np.ones(9), slots)
        speeds = []
        for mode in ("replacement", "epochs"):
            sampler = Sampler(
                shards, weights, [0] * slots, [0] * slots,
                sequences=sequences, context=context, num_steps=60, mode=mode,
            )  # fmt: skip
            began = time.process_time()
            for step in range(60):
                sampler.batch(step)
            speeds.append(60 * slots * sequences * context / (time.process_time() - began))
        rows.append((context, sequences, slots, *speeds))
    return rows


def sections():
    """The sections of docs/benchmarks.md."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "KMP_BLOCKTIME": "0",
        "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    }
    command = [sys.executable, "-m", "benchmarks.swarm_cpu"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    rows = [
        (
            f"{shape}, K = {SHAPES[shape][2]}",
            form,
            f"{one['speed'] / 1e3:.1f}k",
            f"{one['ratio']:.2f}×",
            f"{one['first']:.1f}",
        )
        for shape, forms in found["shapes"].items()
        for form, one in forms.items()
    ]
    where = f"Machine: {machine()}; {versions('torch')}."
    return [
        Section(
            "Training a swarm on one thread",
            "Training tokens per processor second, AdamW and clip included; medians of "
            f"{ROUNDS} interleaved rounds, ratios round by round. Plain is the same decoder for "
            "one model, with fused AdamW, as one writes it (`benchmarks/plain_decoder.py`). "
            "Goals for stacked: 65k and 1.5× at the demo's shape, 1.6× at 256 tokens a step.",
            ("shape, tokens a step and proxy", "form", "tokens/s", "to plain", "first 3 steps, s"),
            rows,
            where,
        ),
        Section(
            "Drawing batches",
            "Tokens per processor second, nine domains in memory. Goals: 20M at T = 512; less than "
            "2 % of a training step at the demo's shape (T 64).",
            ("T", "B", "K", "with replacement", "in epochs"),
            [
                (*shape, f"{replacement / 1e6:.0f}M", f"{epochs / 1e6:.0f}M")
                for *shape, replacement, epochs in found["batch"]
            ],
            f"Machine: {machine()}; {versions('numpy')}.",
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(measure()))
