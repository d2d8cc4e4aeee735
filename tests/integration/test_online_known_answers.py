"""The known answers of reweighting as a trainer gets them: registered, told, asked over HTTP."""

import json
from pathlib import Path

import numpy as np
import pytest

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/online_known_answers.json"
LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def known():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return {case["id"]: case for case in json.loads(ANSWERS.read_text())["cases"]}


@pytest.fixture
def train(client):
    """A training whose weights are served as the algorithm makes them."""

    def register(algorithm, weights, **options):
        domains = list(LETTERS[: len(weights)])
        body = {
            "name": "run",
            "domains": domains,
            "algorithm": algorithm,
            "options": {"floor": 0.0, **options},
            "initial_weights": dict(zip(domains, weights, strict=True)),
        }
        response = client.post("/v1/trainings", json=body)
        assert response.status_code == 201, response.text
        return Training(client, response.json(), domains)

    return register


class Training:
    def __init__(self, client, registered, domains):
        self.client, self.domains = client, domains
        self.url = f"/v1/trainings/{registered['id']}"
        self.registered, self.plan, self.diagnostics = registered, registered["plan"], {}

    def tell(self, step, **told):
        response = self.client.post(f"{self.url}/observations", json={"step": step, **told})
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["applied"], answer
        self.plan, self.diagnostics = answer["plan"], answer["diagnostics"]
        return self.ordered(answer["weights"])

    def ordered(self, weights):
        return [weights[name] for name in self.domains]

    def by_name(self, values):
        return dict(zip(self.domains, values, strict=True))


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("doremi.two_steps_missing", {}),
        ("doremi.official_init", {"initial_score": float(np.log(50257)), "count_initial": True}),
    ],
)
def test_doremi(train, known, name, options):
    training = train("doremi", [1 / 3] * 3, smoothing=1e-3, **options)
    case = known[name]
    for step, excess in enumerate(case["inputs"]["excess"], start=1):
        found = training.tell(step, excess_losses=training.by_name(excess))
        close(found, case["expected"]["steps"][step - 1]["p"])


def test_doremi_without_a_domain_from_the_start(train, known):
    case = known["doremi.official_init"]
    options = {"initial_score": float(np.log(50257)), "count_initial": True, "smoothing": 1e-3}
    training = train("doremi", [1 / 3] * 3, **options)
    found = training.tell(1, excess_losses=training.by_name(case["inputs"]["first_step_missing"]))
    close(found, case["expected"]["p_when_domain_2_missing_at_step_1"])


@pytest.mark.parametrize("name", ["doge.target", "doge.upper_clip", "doge.universal_no_self"])
def test_doge(train, known, name):
    case = known[name]
    params, inputs = case["params"], case["inputs"]
    training = train("doge", inputs["p"], step_size=1 / params["mu"], smoothing=0.0)
    names = training.domains
    if "W" in inputs:
        told = {"alignment": training.by_name(inputs["W"])}
    else:
        told = {"gram": {"rows": names, "columns": names, "values": inputs["gram"]}}
    norms = training.by_name(inputs["grad_norm"])
    close(
        training.tell(1, learning_rate=params["lr"], grad_norms=norms, **told),
        case["expected"]["p"],
    )


def test_dga(train, known):
    case = known["dga.ema"]
    params, inputs = case["params"], case["inputs"]
    training = train("dga", inputs["p"], step_size=params["eta"], ema=params["beta"])
    for step, align in enumerate(inputs["align"], start=1):
        found = training.tell(step, alignment=training.by_name(align))
        close(found, case["expected"][f"p{step}"])


def test_skill_it(train, known):
    case = known["skillit.window3"]
    rows = [dict(zip("ab", row, strict=True)) for row in case["inputs"]["graph"]]
    options = {"step_size": case["params"]["eta"], "window": case["params"]["window"]}
    training = train("skill_it", [0.5, 0.5], graph=dict(zip("ab", rows, strict=True)), **options)
    found = [
        training.tell(step, losses=training.by_name(losses))
        for step, losses in enumerate(case["inputs"]["losses"], start=1)
    ]
    for count in (1, 3, 4):
        close(found[count - 1], case["expected"][f"p_after_{count}"])


@pytest.mark.parametrize("name", ["odm.single", "odm.group_missing"])
def test_odm(train, known, name):
    case = known[name]
    training = train("odm", [1 / 3] * 3, reward_scale=case["params"]["reward_scale"])
    for (step, rewards), expected in zip(
        case["inputs"]["stream"], case["expected"]["p"], strict=True
    ):
        told = {name: rewards.get(str(place)) for place, name in enumerate(training.domains)}
        close(training.tell(step, rewards=told), expected)


@pytest.mark.parametrize(
    ("variant", "mode"), [("ema", "ema_mode"), ("exponentiated_gradient", "egd_mode")]
)
def test_aioli(train, known, variant, mode):
    case = known["aioli.two_rounds"]
    params = case["params"]
    training = train(
        "aioli",
        [0.5, 0.5],
        variant=variant,
        step_size=params["eta"],
        ema=1 - params["ema"],
        one_hot_factor=params["one_hot_factor"],
    )
    found = []
    for turn, drops in enumerate(case["inputs"]["beta_rounds"]):
        found.append(training.tell(250 * turn + 32, probe_losses=measured(training.plan, drops)))
    for weights, expected in zip(found, case["expected"][mode], strict=True):
        close(weights, expected["p"] if isinstance(expected, dict) else expected)


def measured(plan, drops):
    """Losses that fall by the column of `drops` that belongs to each probe of a plan."""
    names = plan["mixtures"]["rows"]
    falls = np.array(drops).T[[names.index(one["probe"]) for one in plan["intervals"]]]
    losses = 3.0 - np.vstack([np.zeros(len(names)), np.cumsum(falls, axis=0)])
    rows = [plan["before"], *(one["row"] for one in plan["intervals"])]
    return {"rows": rows, "columns": names, "values": losses.tolist()}


@pytest.mark.parametrize(("clip", "key"), [(False, "p_code_no_clip"), (True, "p_paper_clip")])
def test_shearing(train, known, clip, key):
    case = known["shearing.step"]
    inputs = case["inputs"]
    targets = dict(zip(LETTERS, inputs["target_loss"], strict=False))
    options = {"step_size": case["params"]["eta"], "smoothing": case["params"]["c"], "clip": clip}
    training = train("shearing", inputs["p"], target_losses=targets, **options)
    close(training.tell(1, losses=training.by_name(inputs["loss"])), case["expected"][key])


@pytest.mark.parametrize("name", ["pike.step", "pike.balanced"])
def test_pike(train, known, name):
    case = known[name]
    params, inputs = case["params"], case["inputs"]
    options = {"step_size": params["zeta1"], "noise_penalty": params["zeta2"]}
    if "tau" in params:
        options["temperature"] = params["tau"]
    training = train("pike", inputs["w"], **options)
    told = {
        "grad_norms_squared": training.by_name(inputs["grad_norm_sq"]),
        "grad_variances": training.by_name(inputs["grad_var"]),
        "batch_size": params["b"],
    }
    if "loss" in inputs:
        told["losses"] = training.by_name(inputs["loss"])
    close(training.tell(1, **told), case["expected"]["w"])


@pytest.mark.parametrize(
    "name", ["tikmix_d.slsqp", "tikmix_d.other_weights", "tikmix_d.pareto_bound"]
)
def test_tikmix_d(train, known, name):
    case = known[name]
    inputs = case["inputs"]
    options = {key: case["params"][key] for key in ("alpha", "beta", "gamma")}
    training = train("tikmix_d", inputs["prior"], **options)
    tasks = [f"task{row}" for row in range(len(inputs["S"]))]
    table = {"rows": tasks, "columns": training.domains, "values": inputs["S"]}
    close(training.tell(1, influence=table), case["expected"]["w"], tolerance=1e-5)


def test_dga_of_distributions(train, known):
    case = known["dga.distributions"]
    params, inputs = case["params"], case["inputs"]
    basis = {
        name: dict(zip(LETTERS, row, strict=False))
        for name, row in zip(["one", "other"], inputs["basis"], strict=True)
    }
    weights = (np.array(inputs["basis_w"]) @ np.array(inputs["basis"])).tolist()
    training = train("dga", weights, step_size=params["eta"], ema=params["beta"], basis=basis)
    found = training.tell(1, alignment=training.by_name(inputs["domain_align"]))
    close(found, case["expected"]["domain_w_next"])


def test_lfr(train, known):
    case = known["lfr.phases"]
    dropped = {"focus_dropped": case["params"]["s1"], "refocus_dropped": case["params"]["s2"]}
    training = train("lfr", [0.5, 0.5], blocks=10, **dropped)
    losses = {phase: case["inputs"][f"loss_after_{phase}"] for phase in ("learn", "review")}
    kept = list(range(10))
    for step, phase in enumerate(("learn", "focus1", "review", "focus2"), start=1):
        assert kept == case["expected"][phase]
        known_losses = losses["review" if phase == "review" else "learn"]
        told = {"ids": kept, "losses": [known_losses[block] for block in kept]}
        training.tell(step, block_losses=told)
        kept = training.diagnostics["blocks"]["ids"]
