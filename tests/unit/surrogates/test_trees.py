import lightgbm
import numpy as np

from mixwright.surrogates.trees import Forest


def test_numpy_predicts_what_lightgbm_predicts():
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(5), 300).round(3)
    models = []
    for seed in range(2):
        losses = np.sin(7 * mixtures[:, seed]) + rng.normal(0, 0.1, 300)
        models.append(
            lightgbm.train(
                {"objective": "regression", "verbosity": -1, "num_threads": 1},
                lightgbm.Dataset(mixtures, losses),
                num_boost_round=40 + seed,
            )
        )
    forest = Forest.of(
        [[tree["tree_structure"] for tree in m.dump_model()["tree_info"]] for m in models]
    )
    queries = np.vstack([mixtures, rng.dirichlet(np.ones(5), 500), np.eye(5)])
    expected = np.column_stack([model.predict(queries) for model in models])
    np.testing.assert_allclose(forest.predict(queries), expected, rtol=1e-12)


def test_a_forest_without_splits_predicts_its_constant():
    forest = Forest.of([[{"leaf_value": 2.5}], []])
    np.testing.assert_array_equal(forest.predict(np.eye(2)), [[2.5, 0.0], [2.5, 0.0]])
