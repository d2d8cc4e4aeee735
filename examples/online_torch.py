"""Train a byte-level model on weights that Aioli finds by probes; run it again, and it resumes."""

import argparse
import hashlib
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import nn

from mixwright_client import BatchPlan, Settings, Training

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:8000", help="of `mixwright serve`")
parser.add_argument("--folder", type=Path, default=Path("online_torch"), help="of the checkpoint")
args = parser.parse_args()
checkpoint, part = args.folder / "checkpoint.pt", args.folder / "checkpoint.part"
STEPS, HELD_OUT = 800, 256
torch.set_num_threads(1)
torch.manual_seed(0)
texts = {"code": Path(argparse.__file__).read_text(), "prose": "".join(topics.values())}
texts["sums"] = "".join(f"{a} + {b} = {a + b}\n" for a in range(70) for b in range(70))
rows = {name: torch.tensor([*text.encode()]).unfold(0, 9, 2) for name, text in texts.items()}
data = torch.cat([found[HELD_OUT:] for found in rows.values()])
model = nn.Sequential(nn.Embedding(256, 32), nn.Flatten(), nn.Dropout(0.1), nn.Linear(256, 256))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def loss_of(batch, is_training):  # the ninth byte of each row, by the eight before it
    model.train(is_training)
    return nn.functional.cross_entropy(model(batch[:, :-1]), batch[:, -1])


settings = Settings(folder=args.folder, patience=3600)  # it waits for the server, to be repeatable
if checkpoint.exists():
    weights, moments, rng, mixture = torch.load(checkpoint)
    model.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    torch.set_rng_state(rng)
    training = Training.from_state(args.url, mixture, settings)
else:
    body = {"name": "example", "domains": [*rows], "algorithm": "aioli"}
    training = Training.register(args.url, body, settings)
training.probe_with(lambda: {n: loss_of(rows[n][:HELD_OUT], False).item() for n in rows})
sampler = training.batch_sampler({n: len(rows[n]) - HELD_OUT for n in rows}, BatchPlan(64), STEPS)
for step, indices in enumerate(sampler, sampler.planned):
    loss = loss_of(data[indices], True)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    training.step_end(step)
    print(f"\r{'#' * (40 * step // STEPS):40} step {step} loss {loss:.3f}", end="", flush=True)
    if step % 50 == 49:  # when new weights are handed out, too
        state = model.state_dict(), optimizer.state_dict(), torch.get_rng_state()
        torch.save((*state, training.state_dict()), part)
        part.replace(checkpoint)
training.finish(60)
found = nn.utils.parameters_to_vector(model.parameters()).detach().numpy().tobytes()
print(f"\nweights {training.ledger.newest.weights}\nmodel {hashlib.sha256(found).hexdigest()}")
