"""A small GPT-2 with Hugging Face's Trainer, on domains weighted by how its losses go.

Start `mixwright serve`, then `python examples/online_huggingface.py`. Killed, and started again
with the same command, it goes on from its last checkpoint. Tokens are bytes of made-up text.
"""

import argparse
import os
import random

import torch
from transformers import GPT2Config, GPT2LMHeadModel, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from mixwright_client.huggingface import Mixture, MixtureTrainer

ROWS, LENGTH = 500, 64  # of each domain; bytes of a row


def made_up() -> dict[str, list[str]]:
    """Return lines by domain: one is soon learned, one takes long, one cannot be learned."""
    draw = random.Random(0)
    numbers = [(draw.randrange(100), draw.randrange(100)) for _ in range(8 * ROWS)]
    return {
        "alphabet": [chr(97 + step % 26) * 4 for step in range(20 * ROWS)],
        "sums": [f"{a}+{b}={a + b};" for a, b in numbers],
        "noise": ["".join(draw.choices("abcdefgh", k=LENGTH)) for _ in range(ROWS)],
    }


def rows(lines: list[str]) -> list[dict[str, torch.Tensor]]:
    """Return lines one after the other as rows of bytes, as a Trainer takes them."""
    text = torch.tensor(list("".join(lines).encode()))[: ROWS * LENGTH]
    return [{"input_ids": row, "labels": row} for row in text.reshape(-1, LENGTH)]


def main() -> None:
    """Train, or go on with what is in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the Mixwright server")
    parser.add_argument("--out", default="online_huggingface", help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    os.makedirs(asked.out, exist_ok=True)
    set_seed(0)
    shape = {"vocab_size": 256, "n_layer": 2, "n_embd": 64, "n_head": 2, "n_positions": LENGTH}
    trainer = MixtureTrainer(
        model=GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)),
        args=TrainingArguments(
            asked.out,
            max_steps=asked.steps,
            per_device_train_batch_size=16,
            learning_rate=1e-3,
            save_steps=50,
            logging_steps=25,
            use_cpu=True,
            report_to="none",
        ),
        mixture=Mixture(
            asked.url,
            {"name": "online-huggingface", "algorithm": "odm"},
            {name: rows(lines) for name, lines in made_up().items()},
        ),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(asked.out))
    trainer.save_model()


if __name__ == "__main__":
    main()
