"""Training swarms on one GPU, in ten minutes: `python -m benchmarks.gpu_swarm [--out FOLDER]`.

Stands apart from `make bench`, which needs no GPU. Proxies of RegMix's "1M" body are trained one at
a time with its vocabulary of 50,432, as RegMix does, and then stacked with a vocabulary of 4,096:
K = 8 to 256, eager, compiled, and replayed as a CUDA graph. Each configuration writes a JSON line;
the table and its machine go to FOLDER/gpu_swarm.md. Twice the same step must give the same bits
whatever the siblings are: that is checked at the end.

`--smoke` runs everything once with tiny shapes on whatever there is, to see that it works.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.tables import Section, versions
from mixwright.proxies import ProxyModel
from workers.model import initialise
from workers.order import OptimizerOrder
from workers.step import begin, train_step

BUDGET_SECONDS = 540.0
PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
OPTIMIZER = OptimizerOrder(4e-4, "wsd", 0.0, 0.0, 0.1, 0.9, 0.95, 1.0, 8)
FORMS = ("eager", "compiled", "graph")
SWARM_TOKENS = 512 * 1e9  # RegMix's: 512 proxies of a billion tokens


@dataclass(frozen=True)
class Plan:
    """A configuration: a vocabulary, so many proxies, so many sequences each."""

    vocabulary: int
    proxies: int
    sequences: int
    form: str
    context: int = 512
    layers: int = 2
    width: int = 256

    @property
    def model(self):
        return ProxyModel(self.layers, self.width, 8, 2 * self.width, self.context, self.vocabulary)


def plans(is_smoke):
    """What to measure, the most telling first."""
    if is_smoke:
        return [Plan(64, k, 2, form, 16, 1, 16) for k in (1, 2) for form in FORMS[:1]]
    one = [Plan(50_432, 1, 16, form, 2048) for form in FORMS[:2]]
    stacked = [Plan(4096, k, 8, form) for k in (64, 8, 32, 128, 256) for form in FORMS]
    return [*one, Plan(4096, 1, 16, "compiled"), *stacked]


def stepper(plan, device):
    """A function that trains by one step, and its state."""
    model = plan.model
    parameters = {n: p.to(device) for n, p in initialise(model, range(plan.proxies)).items()}
    state = begin(parameters, torch.ones(plan.proxies, dtype=torch.bool, device=device))
    shape = (plan.proxies, plan.sequences, plan.context + 1)
    windows = torch.randint(0, plan.vocabulary, shape, device=device)
    rates = torch.full((plan.proxies,), 4e-4, device=device)

    def step():
        train_step(state, model, windows, OPTIMIZER, rates, is_compiled=plan.form != "eager")

    if plan.form != "graph":
        return step, state
    for _ in range(3):
        step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay, state


def measure(plan, device):
    """One configuration: speed, share of peak, memory, seconds until the first step was done."""
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    step, _ = stepper(plan, device)
    step()
    synchronize(device)
    first = time.perf_counter() - began
    for _ in range(3):
        step()
    synchronize(device)
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < (8.0 if is_gpu else 0.2):
        for _ in range(10):
            step()
        synchronize(device)
        steps += 10
    seconds = time.perf_counter() - began
    speed = steps * plan.proxies * plan.sequences * plan.context / seconds
    name = torch.cuda.get_device_name() if is_gpu else "cpu"
    peak = next((value for key, value in PEAK_BF16.items() if key in name), None)
    return {
        **plan.__dict__,
        "tokens_per_second": speed,
        "share_of_peak": speed * plan.model.flops_per_token / peak if peak else None,
        "gigabytes": torch.cuda.max_memory_allocated() / 2**30 if is_gpu else None,
        "first_seconds": first,
        "swarm_hours": SWARM_TOKENS / speed / 3600,
        "device": name,
    }


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def siblings_change_no_bit(device, is_smoke):
    """Whether a slot has the same bits among other siblings and at another place."""
    plan = Plan(64, 4, 2, "eager", 16, 1, 16) if is_smoke else Plan(4096, 16, 8, "eager")
    model, order = plan.model, list(range(plan.proxies))
    shape = (plan.proxies, plan.sequences, plan.context + 1)
    windows = torch.randint(0, plan.vocabulary, shape, device=device)
    ends = []
    for seeds in (order, order[::-1]):
        state = begin(
            {n: p.to(device) for n, p in initialise(model, seeds).items()},
            torch.ones(plan.proxies, dtype=torch.bool, device=device),
        )
        turned = windows if seeds == order else windows.flip(0)
        for _ in range(5):
            train_step(state, model, turned, OPTIMIZER, torch.full(shape[:1], 4e-4, device=device))
        ends.append(state.parameters)
    return all(torch.equal(ends[0][name], ends[1][name].flip(0)) for name in ends[0])


def table(rows, is_invariant):
    cells = [
        (
            row["vocabulary"],
            row["proxies"],
            row["form"],
            f"{row['tokens_per_second'] / 1e6:.2f}M",
            "–" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}",
            "–" if row["gigabytes"] is None else f"{row['gigabytes']:.1f}",
            f"{row['first_seconds']:.0f}",
            f"{row['swarm_hours']:.1f}",
        )
        for row in rows
    ]
    return Section(
        f"Training a swarm on one {rows[0]['device']}",
        "RegMix's body of 1.3M parameters, bf16 with float32 masters, AdamW and clip included. "
        "Hours are those of 512 proxies of a billion tokens; RegMix's own took 171 A100-hours by "
        "its README. Goal: at most 8 hours.",
        ("V", "K", "form", "tokens/s", "of peak", "GB", "first step, s", "swarm, hours"),
        cells,
        f"Siblings and order change no bit at one K: {'yes' if is_invariant else 'NO'}. "
        f"{versions('torch')}.",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not asked.smoke:
        raise SystemExit("there is no GPU here; --smoke only sees whether the script works")
    asked.out.mkdir(parents=True, exist_ok=True)
    end, rows = time.monotonic() + BUDGET_SECONDS, []
    with (asked.out / "gpu_swarm.jsonl").open("w") as lines:
        for plan in plans(asked.smoke):
            if time.monotonic() > end:
                break
            try:
                rows.append(measure(plan, device))
            except (torch.OutOfMemoryError, RuntimeError) as error:
                print(f"{plan}: {error}")
                continue
            print(json.dumps(rows[-1]), file=lines, flush=True)
            print(json.dumps(rows[-1]))
    section = table(rows, siblings_change_no_bit(device, asked.smoke))
    (asked.out / "gpu_swarm.md").write_text(section.markdown())


if __name__ == "__main__":
    main()
