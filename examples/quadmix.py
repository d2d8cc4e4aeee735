"""QuaDMix on text with planted noise: which documents to train on, found by proxies, then checked.

`python examples/quadmix.py` needs no server and no download. QuaDMix's loop (sample parameters,
train proxies on what they select, fit, search) finds parameters that select a quarter of the tokens
of `noisy_python.py`. They are compared, on clean text and with new seeds, with other ways to select
as many: at random, the best by one rater, and at random with the shares that RegMix recommends. All
of these are sampling functions. The limits are wider than the paper's, which keep a tenth of the
tokens at most: this corpus is too small for that.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from noisy_python import NOISE, RATERS, build, noise_in

from app.cli.corpus import register_corpus
from app.cli.demo import own_server
from app.cli.recommending import fit_study, recommend_by
from app.cli.swarming import follow
from app.cli.terminal import Answer
from mixwright.corpus.selection import DocumentPool
from mixwright.corpus.store import open_store
from mixwright.spaces import space_from
from mixwright.study import Domain

SELECTED = 0.25  # of all tokens
SPACE = {"kind": "quadmix", "raters": list(RATERS)}
SEARCHED, WIDE = {"omega": 0.6, "epsilon": 0.1}, {"omega": 1.0, "epsilon": 1.0}
FIRST_SEED = 1000
TRAINER = {
    "model": {"preset": "65k"},
    "optimizer": {"learning_rate": 0.01, "schedule": "linear", "batch_sequences": 8},
    "evaluation": {"at": [1.0]},
}
answer = Answer(as_json=False)  # shows progress


@dataclass
class Size:
    """How much to train."""

    bytes_per_domain: int = 900_000
    proxies: int = 96  # of each of two searches
    proxy_tokens: int = 49_152
    final_tokens: int = 196_608
    seeds: int = 3  # of what each way selects


def experiment(folder, size, corpus_seed=1, first_seed=FIRST_SEED):
    """Return the names of domains, and what each way to select selected and reached."""
    place = folder / f"noisy-python-{size.bytes_per_domain}-{corpus_seed}"
    with answer.progress("planting noise") as tell:
        if not place.exists():
            build(place, size.bytes_per_domain, corpus_seed)
        tell(1.0)
    store = open_store(str(place))
    sizes = dict(zip(store.domains, map(float, store.train_tokens), strict=True))
    with tempfile.TemporaryDirectory() as data, own_server(Path(data)) as client:
        corpus = register_corpus(client, str(place), store, None)["id"]
        ways = by_hand(sizes) | search(client, sizes, corpus, size)
        losses = check(client, sizes, corpus, size, list(ways.values()), first_seed)
    space = space_from(SPACE, [Domain(name, None, 0.0) for name in store.domains])
    pool, rows = DocumentPool(store, store.domains, space), []
    for (name, theta), reached in zip(ways.items(), losses, strict=True):
        function = pool.function(theta)
        found = [pool.select(function, first_seed + replicate) for replicate in range(size.seeds)]
        tokens = np.mean([one.tokens for one in found], axis=0)
        noise = noise_in(pool, found)
        rows.append({"name": name, "losses": reached, "tokens": tokens, "noise": noise})
    return store.domains, rows


def by_hand(sizes):
    alike, none = dict.fromkeys(sizes, SELECTED), dict.fromkeys(RATERS, 0.0)
    best = {f"the best by {name}": simple("omega", alike, {**none, name: 1.0}) for name in RATERS}
    return {"random": simple("epsilon", alike), **best}


def simple(part, shares, raters=None):
    """θ that takes a share of each domain: the best, where `part` is omega, or at random."""
    raters = raters or {name: 1 / len(RATERS) for name in RATERS}
    zeros = {"rater_weights": raters, "lambda": 0.0, "omega": 0.0, "eta": 0.0, "epsilon": 0.0}
    return {domain: {**zeros, part: share} for domain, share in shares.items()}


def search(client, sizes, corpus, size):
    """QuaDMix's parameters, by our search and by the paper's, and RegMix's shares as parameters."""
    budget, fits = SELECTED * sum(sizes.values()), {}
    once = {"repetition": {"target_tokens": budget, "max_epochs": 1.0}}
    spaces = {"quadmix": {"space": {**SPACE, "limits": SEARCHED}}, "regmix": {"constraints": once}}
    for study, more in spaces.items():
        create(client, study, sizes, size, **more)
        what = f"proxies for {study}"
        train(client, study, corpus, what, {"count": size.proxies, "fidelity": "proxy"})
        fits[study] = fit_study(client, answer, study, "auto", "proxy", 0)["id"]

    def recommend(study, **asked):
        return recommend_by(client, answer, study, {"fit": fits[study], **asked})

    wanted = {"lower": 0.99 * budget, "upper": 1.01 * budget}
    shares = recommend("regmix", method="regmix")["weights"]
    of_each = {name: min(1.0, share * budget / sizes[name]) for name, share in shares.items()}
    return {
        "random, with RegMix's shares": simple("epsilon", of_each),
        "QuaDMix": recommend("quadmix", method="evolve", selected_tokens=wanted)["parameters"],
        "QuaDMix, the paper's mean": recommend("quadmix", method="regmix")["parameters"],
    }


def check(client, sizes, corpus, size, ways, first_seed):
    """Train with new seeds on what each way selects; return losses on clean text, a row a way."""
    create(client, "check", sizes, size, space={**SPACE, "limits": WIDE})
    swarm = {"fidelity": "final", "design": {"kind": "given", "parameters": ways}}
    more = {"replicates": size.seeds, "seed": first_seed, "width": 9}
    train(client, "check", corpus, "models to check", swarm, **more)
    losses = np.zeros((len(ways), size.seeds))
    for run in client.pages("/v1/studies/check/runs"):
        place = run["metadata"]["mixture"], run["metadata"]["replicate"]
        losses[place] = np.mean([run["metrics"][f"loss/{name}"] for name in NOISE])
    return losses


def create(client, name, sizes, size, **more):
    fidelities = {"proxy": size.proxy_tokens, "final": size.final_tokens}
    body = {
        "name": name,
        "domains": [{"name": domain, "tokens": tokens} for domain, tokens in sizes.items()],
        "metrics": [{"name": f"loss/{domain}"} for domain in sizes],
        "objective": {f"loss/{domain}": 1 / len(NOISE) for domain in NOISE},
        "fidelities": [{"name": one, "tokens": float(n)} for one, n in fidelities.items()],
        "target_fidelity": "final",
    }
    client.post("/v1/studies", {**body, **more})


def train(client, study, corpus, what, swarm, **more):
    body = {**swarm, "trainer": {**TRAINER, "corpus": corpus, **more}}
    follow(client, answer, client.post(f"/v1/studies/{study}/swarms", body)["id"], what)


def draw(domains, rows, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3), sharey=True, layout="constrained")
    tokens, names = np.array([row["tokens"] for row in rows]).T / 1e3, [row["name"] for row in rows]
    left.plot(np.array([row["losses"] for row in rows]), names, "ko", markersize=4)
    for domain, some, end in zip(domains, tokens, np.cumsum(tokens, axis=0), strict=True):
        right.barh(names, some, left=end - some, label=domain)
    left.set_xlabel("loss on clean text, nats per byte, a dot a seed")
    right.set_xlabel("thousands of tokens selected")
    right.legend(fontsize="small")
    left.invert_yaxis()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("var/quadmix"), help="of the corpus")
    parser.add_argument("--small", action="store_true", help="a minute, to see that it runs")
    args = parser.parse_args()
    size = Size(60_000, 24, 8_192, 16_384) if args.small else Size()
    domains, rows = experiment(args.folder, size)
    print(f"\n{'selected':30}{'loss':>8}{'tokens':>11}{'noise':>7}   {'  '.join(domains)}")
    for row in rows:
        told = f"{np.mean(row['losses']):8.4f}{row['tokens'].sum():11,.0f}{row['noise']:7.0%}   "
        each = zip(domains, row["tokens"], strict=True)
        print(f"{row['name']:30}{told}{'  '.join(f'{n:{len(d)},.0f}' for d, n in each)}")
    draw(domains, rows, args.folder / "quadmix.svg")
    print(f"picture: {args.folder / 'quadmix.svg'}")
