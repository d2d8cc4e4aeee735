"""Means of checkpoints, in files of safetensors and of torch."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mixwright.checkpoints.averaging import average_checkpoints, sha256_of
from mixwright.checkpoints.stored import in_safetensors, in_torch
from mixwright.errors import InvalidInputError
from mixwright.schedules.averaging import weights_for


def state(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "layers.0.weight": torch.randn(7, 5, generator=generator).to(dtype),
        "layers.0.bias": torch.randn(5, generator=generator).to(dtype),
        "scale": torch.randn((), generator=generator).to(dtype),
        "nothing": torch.zeros(0, 3, dtype=dtype),
        "positions": torch.arange(6),
        "mask": torch.tensor([True, False, True]),
    }


def saved(folder, states, kind="safetensors"):
    paths = []
    for place, one in enumerate(states):
        paths.append(folder / f"step{place}.{kind}")
        save_file(one, paths[-1]) if kind == "safetensors" else torch.save(one, paths[-1])
    return paths


def read(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def averaged(paths, out, weights=None, dtype=None):
    even = np.full(len(paths), 1.0 / len(paths))
    return average_checkpoints(paths, out, even if weights is None else np.array(weights), dtype)


def require_equal(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name], tensor), name


def plain_mean(states, dtype=None):
    """The sum of all tensors in memory, over their number."""
    return {
        name: (sum(one[name].float() for one in states) / len(states)).to(dtype or tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("into", ["safetensors", "pt"])
@pytest.mark.parametrize("kind", ["safetensors", "pt", "bin"])
def test_even_weights_are_the_plain_mean_bit_for_bit(tmp_path, count, kind, into):
    states = [state(seed) for seed in range(count)]
    done = averaged(saved(tmp_path, states, kind), tmp_path / f"mean.{into}")
    require_equal(read(tmp_path / f"mean.{into}"), plain_mean(states))
    if count <= 3:  # torch adds up more in strands, otherwise at a row's end than within it
        stacked = torch.stack([one["layers.0.weight"] for one in states])
        assert torch.equal(read(tmp_path / f"mean.{into}")["layers.0.weight"], stacked.mean(0))
    assert (done.averaged, done.kept) == (4, 2)
    assert done.weights == pytest.approx([1 / count] * count)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_are_averaged_in_fp32_and_written_as_they_were(tmp_path, dtype):
    states = [state(seed, dtype) for seed in range(3)]
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors")
    require_equal(read(tmp_path / "mean.safetensors"), plain_mean(states))
    averaged(saved(tmp_path, states), tmp_path / "wide.pt", dtype="float32")
    require_equal(read(tmp_path / "wide.pt"), plain_mean(states, torch.float32))


def test_a_mean_in_bf16_would_be_another(tmp_path):
    """256 + 1 is 256 in bf16: three of them are 259 / 3 only if the sum is wider."""
    states = [{"w": torch.tensor([x], dtype=torch.bfloat16)} for x in (256.0, 1.0, 1.0)]
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors", dtype="float32")
    assert read(tmp_path / "mean.safetensors")["w"].item() == pytest.approx(86.0)


@pytest.mark.parametrize("method", ["simple", "linear", "exponential"])
def test_weights_are_those_of_the_method_oldest_first(tmp_path, method):
    states, weights = [state(seed) for seed in range(4)], weights_for(method, 4, 0.3)
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors", weights)
    found = read(tmp_path / "mean.safetensors")["layers.0.weight"]
    wide = [one["layers.0.weight"].double() for one in states]
    expected = sum(w * one for w, one in zip(weights.tolist(), wide, strict=True))
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)


def test_weights_need_not_sum_to_one_and_may_be_zero(tmp_path):
    states = [state(seed) for seed in range(3)]
    done = averaged(saved(tmp_path, states), tmp_path / "mean.safetensors", [0, 2, 2])
    assert done.weights == (0.0, 0.5, 0.5)
    require_equal(read(tmp_path / "mean.safetensors"), plain_mean(states[1:]))


def test_doubles_stay_doubles(tmp_path):
    states = [{"w": torch.tensor([1.0 + i * 2.0**-40], dtype=torch.float64)} for i in range(2)]
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors")
    assert read(tmp_path / "mean.safetensors")["w"].item() == 1.0 + 2.0**-41


def sharded(folder, one, kind):
    """A checkpoint in two files with an index, as Hugging Face has it."""
    folder.mkdir()
    write = save_file if kind == "safetensors" else torch.save
    stem = "model" if kind == "safetensors" else "pytorch_model"
    names, placed = sorted(one), {}
    for part, chosen in enumerate((names[:2], names[2:]), 1):
        file = f"{stem}-0000{part}-of-00002.{kind}"
        write({name: one[name] for name in chosen}, folder / file)
        placed |= dict.fromkeys(chosen, file)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_with_an_index_and_one_file_are_the_same_checkpoint(tmp_path, kind):
    states = [state(seed) for seed in range(3)]
    index = sharded(tmp_path / "a", states[0], kind)
    sharded(tmp_path / "b", states[1], kind)
    paths = [index, tmp_path / "b", *saved(tmp_path, states[2:])]
    done = averaged(paths, tmp_path / "mean.safetensors")
    require_equal(read(tmp_path / "mean.safetensors"), plain_mean(states))
    assert [len(files) for files in done.files] == [2, 2, 1]


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_a_trainers_checkpoint_is_looked_into_and_views_are_read(tmp_path, key):
    states = [state(seed) for seed in range(2)]
    for place, one in enumerate(states):
        turned = {**one, "layers.0.weight": one["layers.0.weight"].t().contiguous().t()}
        torch.save({key: turned, "step": 7}, tmp_path / f"{place}.pt")
    averaged([tmp_path / "0.pt", tmp_path / "1.pt"], tmp_path / "mean.safetensors")
    require_equal(read(tmp_path / "mean.safetensors"), plain_mean(states))


def views(seed):
    """What a torch file may hold otherwise than row after row, or in a storage of others."""
    large = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
    return {
        "transposed": large.t(),
        "column": large[:, 3],
        "part": large[1:5, 2:6],
        "row": large[4],
        "tied": large,
        "expanded": large[0].expand(3, 8),
        "nothing": large[:0].t(),
        "parameter": torch.nn.Parameter(large[2:4].clone()),
        "flags": (large > 0).t() if seed == 0 else (views(0)["tied"] > 0).t().contiguous(),
    }


@pytest.mark.parametrize("into", ["safetensors", "pt"])
def test_views_are_read_with_their_strides_and_offsets(tmp_path, into):
    states = [views(0), views(1), {name: x.contiguous() for name, x in views(2).items()}]
    averaged(saved(tmp_path, states, "pt"), tmp_path / f"mean.{into}")
    require_equal(read(tmp_path / f"mean.{into}"), plain_mean(states))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("into", ["safetensors", "pt"])
def test_blocks_make_no_difference(tmp_path, monkeypatch, into, dtype):
    states = [state(seed, dtype) for seed in range(3)]
    paths = saved(tmp_path, states, into)
    averaged(paths, tmp_path / f"one.{into}", [1, 2, 4])
    monkeypatch.setattr("mixwright.checkpoints.averaging._BLOCK", 8)
    averaged(paths, tmp_path / f"many.{into}", [1, 2, 4])
    require_equal(read(tmp_path / f"many.{into}"), read(tmp_path / f"one.{into}"))


@pytest.mark.parametrize("name", ["layers.0.weight", "positions"])
def test_faults_in_the_last_block_are_found(tmp_path, monkeypatch, name):
    monkeypatch.setattr("mixwright.checkpoints.averaging._BLOCK", 4)
    bad = state(1)[name].clone()
    bad.view(-1)[-1] = torch.nan if bad.is_floating_point() else 7
    with pytest.raises(InvalidInputError, match=f"'{name}' .*(NaN|differs).* .*step1"):
        averaged(saved(tmp_path, changed(name, bad)), tmp_path / "mean.safetensors")


def test_one_double_makes_the_sum_double_from_the_first_on(tmp_path):
    numbers = [torch.tensor([1.0]), torch.tensor([2.0**-30]), torch.zeros(1).double()]
    paths = saved(tmp_path, [{"w": one} for one in numbers])
    averaged(paths, tmp_path / "mean.pt", dtype="float64")
    assert read(tmp_path / "mean.pt")["w"].item() == (1.0 + 2.0**-30) / 3


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_what_is_not_averaged_is_copied_whatever_its_dtype(tmp_path, kind):
    kept = {
        name: torch.arange(8).to(getattr(torch, name))
        for name in ("float8_e4m3fn", "float8_e5m2", "complex64", "uint8", "int16", "bool")
    }
    averaged(saved(tmp_path, [kept, kept], kind), tmp_path / f"mean.{kind}")
    found = read(tmp_path / f"mean.{kind}")
    assert {name: one.dtype for name, one in found.items()} == {
        name: one.dtype for name, one in kept.items()
    }
    for name, one in kept.items():
        assert torch.equal(found[name].view(torch.uint8), one.view(torch.uint8)), name


def test_the_written_file_is_aligned_and_says_it_is_torchs(tmp_path):
    states = [state(seed) for seed in range(2)]
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors")
    raw = (tmp_path / "mean.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert int.from_bytes(raw[:8], "little") % 8 == 0
    assert header.pop("__metadata__") == {"format": "pt"}
    size = {"F32": 4, "I64": 8, "BOOL": 1}
    assert all(one["data_offsets"][0] % size[one["dtype"]] == 0 for one in header.values())


def changed(name, tensor):
    return [state(0), {**state(1), name: tensor}]


BAD = {
    "shape": (changed("scale", torch.zeros(2)), "'scale' has shape .2. in .*step1"),
    "missing": ([{**state(0), "more": torch.zeros(1)}, state(1)], "'more' .*step0.* not in"),
    "extra": (changed("more", torch.zeros(1)), "'more' is in .*step1.* and not in .*step0"),
    "integers": (changed("positions", torch.arange(6) + 1), "'positions' .*int64.* differs"),
    "flags": (changed("mask", torch.tensor([True] * 3)), "'mask' .*bool.* differs"),
    "dtype": (changed("scale", torch.tensor(1.0).half()), "'scale' is .*float16 in .*step1.*dtype"),
    "kind": (changed("scale", torch.tensor(1)), "'scale' is .*int64 in .*step1"),
    "NaN": (changed("scale", torch.tensor(float("nan"))), "'scale' is NaN in .*step1"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_tensors_that_do_not_go_together_are_named_with_the_file(tmp_path, what, kind):
    states, message = BAD[what]
    paths = saved(tmp_path, states, kind)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidInputError, match=message):
        averaged(paths, tmp_path / "mean.safetensors")
    assert sorted(tmp_path.iterdir()) == before


def test_dtypes_may_differ_where_it_is_said_what_to_write(tmp_path):
    states = [state(0), state(1, torch.bfloat16)]
    averaged(saved(tmp_path, states), tmp_path / "mean.safetensors", dtype="float32")
    require_equal(read(tmp_path / "mean.safetensors"), plain_mean(states))


def test_numbers_that_a_dtype_cannot_hold_are_refused_and_infinite_ones_kept(tmp_path):
    paths = saved(tmp_path, [{"w": torch.tensor([1e6, -torch.inf])}] * 2)
    with pytest.raises(InvalidInputError, match="'w' has numbers too large for"):
        averaged(paths, tmp_path / "mean.safetensors", dtype="float16")
    averaged(paths, tmp_path / "mean.safetensors")
    assert read(tmp_path / "mean.safetensors")["w"].tolist() == [1e6, -torch.inf]


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


def packed(path, out, how, **records):
    """Pack a torch file as another program would, with some records replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", how) as new:
        for name in old.namelist():
            new.writestr(name, records.get(name.split("/")[-1], old.read(name)))


def broken_files(folder):
    good = saved(folder, [state(0)])[0]
    (folder / "cut.safetensors").write_bytes(good.read_bytes()[:-9])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "text.pt").write_text("no checkpoint")
    (folder / "evil.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"w": Evil()}, folder / "object.pt")
    torch.save([torch.zeros(2)], folder / "list.pt")
    torch.save({"w": torch.zeros(1), "step": 3}, folder / "step.pt")
    one = torch.arange(4.0)
    torch.save({"w": one}, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"w": one.to_sparse()}, folder / "sparse.pt")
    torch.save({"w": one.to(torch.complex64).conj()}, folder / "conjugate.pt")
    torch.save({"w": one, "more": one + 1.0}, folder / "whole.pt")
    (folder / "cut.pt").write_bytes((folder / "whole.pt").read_bytes()[:-9])
    packed(folder / "whole.pt", folder / "small.pt", zipfile.ZIP_DEFLATED)
    packed(folder / "whole.pt", folder / "plain.pt", zipfile.ZIP_STORED)
    packed(folder / "whole.pt", folder / "big.pt", zipfile.ZIP_STORED, byteorder=b"big")
    (folder / "bad.index.json").write_text("{}")
    (folder / "away.index.json").write_text('{"weight_map": {"w": "gone.safetensors"}}')
    (folder / "lies.index.json").write_text('{"weight_map": {"w": "step0.safetensors"}}')
    (folder / "model.npz").write_text("")
    (folder / "folder").mkdir()
    return good


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.safetensors", "cut.safetensors is broken"),
        ("empty.safetensors", "empty.safetensors is broken"),
        ("text.pt", "text.pt is broken"),
        ("evil.pt", "evil.pt is broken, or holds more"),
        ("object.pt", "object.pt is broken, or holds more"),
        ("old.pt", "old.pt is broken.*written zip files since 1.6: load older ones"),
        ("cut.pt", "cut.pt is broken"),
        ("sparse.pt", "'w' in .*sparse.pt is sparse"),
        ("conjugate.pt", "'w' in .*conjugate.pt is .*not stored as it is"),
        ("small.pt", "small.pt is broken, or was packed by another program"),
        ("plain.pt", "plain.pt is broken, or was packed by another program"),
        ("big.pt", "big.pt is broken.*bytes are in another order"),
        ("list.pt", "holds list; expected tensors by name"),
        ("step.pt", "'step' in .*step.pt is no tensor but int"),
        ("bad.index.json", "no index with a 'weight_map'"),
        ("away.index.json", "names gone.safetensors, which is not beside it"),
        ("lies.index.json", "has no tensor 'w'"),
        ("model.npz", "must end in one of .safetensors"),
        ("folder", "folder has none of model.safetensors"),
        ("nowhere", "nowhere does not exist"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused_and_nothing_in_them_runs(
    tmp_path, capsys, name, message
):
    good = broken_files(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        averaged([good, tmp_path / name], tmp_path / "mean.safetensors")
    assert "this ran" not in capsys.readouterr().out
    assert not (tmp_path / "mean.safetensors").exists()


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_files_that_shrink_or_go_while_they_are_read_are_named(tmp_path, kind):
    path = saved(tmp_path, [{"w": torch.zeros(1000)}], kind)[0]
    stored = (in_safetensors if kind == "safetensors" else in_torch)(path)["w"]
    buffer = torch.empty(stored.size, dtype=torch.uint8)
    with stored.reading(buffer) as numbers:
        assert numbers(0, stored.count).tolist() == [0.0] * 1000
        path.write_bytes(path.read_bytes()[: stored.offset + 100])
        with pytest.raises(InvalidInputError, match=f"{path} is broken: it ends within a tensor"):
            numbers(0, stored.count)
    path.unlink()
    with pytest.raises(InvalidInputError, match=f"{path} cannot be read"), stored.reading(buffer):
        pass


@pytest.mark.parametrize("weights", [[1.0], [1, -1], [0, 0], [1, np.nan], [1, np.inf]])
def test_weights_that_do_not_fit_are_refused(tmp_path, weights):
    paths = saved(tmp_path, [state(0), state(1)])
    with pytest.raises(InvalidInputError, match="weights"):
        averaged(paths, tmp_path / "mean.safetensors", weights)


def test_what_would_overwrite_an_input_or_cannot_be_written_is_refused(tmp_path):
    paths = saved(tmp_path, [state(0), state(1)])
    before = sha256_of(paths)
    with pytest.raises(InvalidInputError, match="is one of the checkpoints"):
        averaged(paths, tmp_path / "x" / ".." / paths[1].name)
    with pytest.raises(InvalidInputError, match="must end in"):
        averaged(paths, tmp_path / "mean.npz")
    for name in ("mean.safetensors", "mean.pt"):
        with pytest.raises(InvalidInputError, match="cannot be written"):
            averaged(paths, tmp_path / "no folder" / name)
    assert sha256_of(paths) == before


def test_progress_ascends_to_one(tmp_path):
    told = []
    paths = saved(tmp_path, [state(0), state(1)])
    average_checkpoints(paths, tmp_path / "mean.pt", np.ones(2), None, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
