"""The stacked model against plain PyTorch, and what a slot must not depend on."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixwright.proxies import ProxyModel
from workers import fused
from workers.model import initialise, losses
from workers.order import OptimizerOrder
from workers.step import begin, train_step

MODEL = ProxyModel(layers=2, width=16, heads=2, feed_forward=24, context=12, vocabulary=40)
TIED = ProxyModel(1, 16, heads=4, feed_forward=20, context=12, vocabulary=40, tied=True)
OPTIMIZER = OptimizerOrder(0.01, "constant", 0.0, 0.0, 0.1, 0.9, 0.95, 0.5, 6)


class PlainNorm(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(gain)

    def forward(self, x):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.gain


class PlainModel(nn.Module):
    """One proxy, written as one would without a thought of stacking."""

    def __init__(self, model, parameters):
        super().__init__()
        self.model = model
        self.matrices = nn.ParameterDict(
            {n.replace(".", "_"): nn.Parameter(p) for n, p in parameters.items() if p.ndim == 2}
        )
        self.norms = nn.ModuleDict(
            {n.replace(".", "_"): PlainNorm(p) for n, p in parameters.items() if p.ndim == 1}
        )

    def forward(self, windows):
        tokens, targets = windows[:, :-1], windows[:, 1:]
        x = self.matrices["embedding"][tokens]
        for layer in range(self.model.layers):
            x = x + self.attention(layer, self.norms[f"{layer}_attention_norm"](x))
            inner = self.norms[f"{layer}_feed_forward_norm"](x)
            gate, up = (inner @ self.matrices[f"{layer}_gate_up"]).chunk(2, -1)
            x = x + (functional.silu(gate) * up) @ self.matrices[f"{layer}_down"]
        head = self.matrices["embedding"].T if self.model.tied else self.matrices["head"]
        logits = self.norms["norm"](x) @ head
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def attention(self, layer, x):
        heads, (_, length, width) = self.model.heads, x.shape
        size = width // heads
        q, k, v = (x @ self.matrices[f"{layer}_qkv"]).split(width, -1)
        seen = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = self.rotate(q[..., part]) @ self.rotate(k[..., part]).transpose(1, 2)
            hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = (scores / math.sqrt(size)).masked_fill(hidden, -math.inf)
            seen.append(scores.softmax(-1) @ v[..., part])
        return torch.cat(seen, -1) @ self.matrices[f"{layer}_attention_out"]

    def rotate(self, x):
        length, size = x.shape[-2:]
        steps = torch.arange(0, size, 2).double() / size
        angles = torch.arange(length)[:, None] / 10_000.0**steps
        left, right = x[..., ::2], x[..., 1::2]
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        turned = [left * cosine - right * sine, left * sine + right * cosine]
        return torch.stack(turned, -1).flatten(-2)


def double(parameters):
    return {name: p.double() for name, p in parameters.items()}


def draw_windows(steps, slots, model=MODEL, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shape = (steps, slots, OPTIMIZER.batch_sequences, model.context + 1)
    return torch.randint(0, model.vocabulary, shape, generator=draw)


def alive(slots):
    return torch.ones(slots, dtype=torch.bool)


@pytest.mark.parametrize("model", [MODEL, TIED])
def test_stacked_training_is_training_one_by_one_to_1e_12(model):
    windows = draw_windows(20, 3, model)
    parameters = double(initialise(model, [0, 1, 2]))
    state = begin({n: p.clone() for n, p in parameters.items()}, alive(3))
    rates = torch.full((3,), 0.01, dtype=torch.float64)
    stacked = torch.stack([train_step(state, model, w, OPTIMIZER, rates) for w in windows])
    for slot in range(3):
        plain = PlainModel(model, {n: p[slot] for n, p in parameters.items()})
        groups = [
            {"params": list(plain.matrices.values()), "weight_decay": 0.1},
            {"params": list(plain.norms.parameters()), "weight_decay": 0.0},
        ]
        adamw = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
        for step, window in enumerate(windows[:, slot]):
            adamw.zero_grad()
            loss = plain(window)
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), OPTIMIZER.clip)
            adamw.step()
            assert abs(float(loss.detach() - stacked[step, slot])) < 1e-12
        for name, matrix in plain.matrices.items():
            ours = state.parameters[_stacked_name(name, state.parameters)][slot]
            torch.testing.assert_close(ours, matrix.detach(), rtol=0, atol=1e-11)


def _stacked_name(plain, names):
    return next(name for name in names if name.replace(".", "_") == plain)


def test_vmap_over_the_plain_model_gives_the_same_losses():
    parameters = double(initialise(MODEL, [3, 4, 5, 6]))
    windows = draw_windows(1, 4)[0]
    plain = PlainModel(MODEL, {n: p[0] for n, p in parameters.items()})
    names = dict(plain.named_parameters())
    stacked = {}
    for name in names:
        kind, rest = name.split(".", 1)
        inner = rest.removesuffix(".gain") if kind == "norms" else rest
        stacked[name] = parameters[_stacked_name(inner, parameters)]

    def one(parameters, window):
        return torch.func.functional_call(plain, parameters, (window,))

    oracle = torch.func.vmap(one)(stacked, windows)
    ours = losses(parameters, MODEL, windows).mean(1)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)


def train(seeds, windows, steps=6, spoil=None):
    """Train slots in float32; `spoil` is a slot whose parameters become NaN after two steps."""
    state = begin(initialise(MODEL, seeds), alive(len(seeds)))
    rates = torch.full((len(seeds),), 0.01)
    for step in range(steps):
        if spoil is not None and step == 2:
            state.parameters["head"][spoil] = math.nan
        train_step(state, MODEL, windows[step], OPTIMIZER, rates)
    return state


def assert_same_bits(state, slot, other, other_slot):
    for part in ("parameters", "first", "second"):
        for name, values in getattr(state, part).items():
            theirs = getattr(other, part)[name][other_slot]
            assert torch.equal(values[slot], theirs), (part, name)


@pytest.mark.parametrize("slots", [1, 2, 4, 16])
def test_the_number_of_siblings_changes_no_bit(slots):
    windows = draw_windows(6, 16)
    everyone = train(list(range(16)), windows)
    some = train(list(range(slots)), windows[:, :slots])
    for slot in range(slots):
        assert_same_bits(some, slot, everyone, slot)


def test_order_and_siblings_change_no_bit():
    windows = draw_windows(6, 8)
    forward = train(list(range(8)), windows)
    backward = train(list(range(7, -1, -1)), windows.flip(1))
    for slot in range(8):
        assert_same_bits(forward, slot, backward, 7 - slot)


def test_a_slot_that_diverges_is_frozen_and_its_siblings_are_untouched_to_the_bit():
    windows = draw_windows(6, 5)
    healthy, spoilt = train(list(range(5)), windows), train(list(range(5)), windows, spoil=3)
    assert spoilt.alive.tolist() == [True, True, True, False, True]
    for slot in (0, 1, 2, 4):
        assert_same_bits(healthy, slot, spoilt, slot)
    before = train(list(range(5)), windows, steps=2)
    assert torch.equal(spoilt.parameters["embedding"][3], before.parameters["embedding"][3])


def test_parts_of_a_batch_give_the_gradient_of_the_whole():
    windows = draw_windows(3, 2)
    whole, parts = (begin(double(initialise(MODEL, [0, 1])), alive(2)) for _ in range(2))
    rates = torch.full((2,), 0.01, dtype=torch.float64)
    for step in range(3):
        one = train_step(whole, MODEL, windows[step], OPTIMIZER, rates)
        two = train_step(parts, MODEL, windows[step], OPTIMIZER, rates, micro_batch=2)
        torch.testing.assert_close(one, two.double(), rtol=0, atol=1e-12)
    for name, values in whole.parameters.items():
        torch.testing.assert_close(values, parts.parameters[name], rtol=0, atol=1e-12)


def test_slots_may_have_learning_rates_of_their_own():
    windows = draw_windows(4, 1).expand(-1, 3, -1, -1)
    state = begin(initialise(MODEL, [0, 0, 0]), alive(3))
    for step in range(4):
        train_step(state, MODEL, windows[step], OPTIMIZER, torch.tensor([0.01, 0.02, 0.01]))
    head = state.parameters["head"]
    assert torch.equal(head[0], head[2])
    assert not torch.equal(head[0], head[1])


@pytest.fixture
def random():
    return torch.Generator().manual_seed(1)


def test_the_fused_norm_is_the_plain_one(random):
    x = torch.randn(2, 5, 8, generator=random, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(2, 8, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fused.rms_norm, (x, gain))
    plain = x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain[:, None]
    torch.testing.assert_close(fused.rms_norm(x, gain), plain, rtol=0, atol=1e-14)


def test_the_fused_gate_is_the_plain_one(random):
    both = torch.randn(2, 5, 12, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fused.swiglu, (both,))
    gate, up = both.chunk(2, -1)
    torch.testing.assert_close(fused.swiglu(both), functional.silu(gate) * up, rtol=0, atol=1e-14)


@pytest.mark.parametrize("entries", [1 << 26, 2 * 30])
def test_the_fused_head_is_the_plain_one_whole_and_in_chunks(random, monkeypatch, entries):
    monkeypatch.setattr(fused, "_CHUNK_ENTRIES", entries)
    hidden = torch.randn(2, 5, 4, generator=random, dtype=torch.float64, requires_grad=True)
    head = torch.randn(2, 4, 30, generator=random, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 30, (2, 5), generator=random)
    assert torch.autograd.gradcheck(lambda h, w: fused.head_loss(h, w, targets), (hidden, head))
    logits = (hidden @ head).flatten(0, 1)
    plain = functional.cross_entropy(logits, targets.flatten(), reduction="none").view(2, 5)
    torch.testing.assert_close(fused.head_loss(hidden, head, targets), plain, rtol=0, atol=1e-13)


def test_a_wanted_token_that_is_all_but_impossible_costs_a_finite_loss():
    hidden = torch.full((1, 1, 1), 200.0)
    head = torch.tensor([[[1.0, -1.0]]])
    assert float(fused.head_loss(hidden, head, torch.tensor([[1]]))) == pytest.approx(400.0)
