"""The decoder of `workers.model` as one writes it for a single model, in plain PyTorch."""

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.heads = model.heads
        self.qkv = nn.Linear(model.width, 3 * model.width, bias=False)
        self.out = nn.Linear(model.width, model.width, bias=False)
        half = torch.arange(0, model.width // model.heads, 2) / (model.width // model.heads)
        angles = torch.arange(model.context)[:, None] / 10_000**half
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def rotate(self, x):
        left, right = x.chunk(2, -1)
        return torch.cat(
            [left * self.cosine - right * self.sine, left * self.sine + right * self.cosine], -1
        )

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(
            self.rotate(q), self.rotate(k), v, is_causal=True
        )
        return self.out(seen.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.attention_norm, self.norm = nn.RMSNorm(model.width), nn.RMSNorm(model.width)
        self.attention = Attention(model)
        self.gate_up = nn.Linear(model.width, 2 * model.feed_forward, bias=False)
        self.down = nn.Linear(model.feed_forward, model.width, bias=False)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        gate, up = self.gate_up(self.norm(x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.embedding = nn.Embedding(model.vocabulary, model.width)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.norm = nn.RMSNorm(model.width)
        self.head = nn.Linear(model.width, model.vocabulary, bias=False)

    def forward(self, windows):
        x = self.embedding(windows[:, :-1])
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
