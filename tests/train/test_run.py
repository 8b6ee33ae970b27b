import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.targets import load
from nmbrl.targets.errors import NmbrlError
from nmbrl.train import tensors
from nmbrl.train.learner import Learner
from nmbrl.train.loop import train
from nmbrl.train.run import CALIBRATION, CHECKPOINT, MODEL, open_run, pack_model, unpack_model
from nmbrl.train.scales import measure

from .conftest import tiny

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2]), "scalar": torch.tensor(0.5)}


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train(tiny(frames=60), path)
    return path


def test_tensors_come_back_with_their_record():
    content = tensors.pack(TENSORS, {"name": "x"})
    read, record = tensors.unpack(content, "file")
    assert record == {"name": "x"}
    assert set(read) == set(TENSORS)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    assert tensors.pack(dict(reversed(TENSORS.items())), {"name": "x"}) == content


@given(st.data())
def test_any_changed_bit_of_a_tensor_file_is_noticed(data):
    content = bytearray(tensors.pack(TENSORS, {"name": "x"}))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NmbrlError, match="file is damaged"):
        tensors.unpack(bytes(content), "file")


@given(st.data())
def test_a_truncated_tensor_file_is_noticed(data):
    content = tensors.pack(TENSORS, {"name": "x"})
    with pytest.raises(NmbrlError, match="file is damaged"):
        tensors.unpack(content[: data.draw(st.integers(0, len(content) - 1))], "file")


def test_a_model_file_gives_the_model_back():
    config = tiny()
    learner = Learner(config.learner, open_task(), config.seed, False)
    random = np.random.default_rng(0)
    observations = random.normal(size=(21, 3)).astype(np.float32)
    learner.set_scales(measure([observations], [random.normal(size=20).astype(np.float32)], 1))
    model, digest = unpack_model(pack_model(learner.model), "file", config)
    assert model.interface == learner.model.interface
    assert digest == tensors.digest(learner.model.state_dict())
    state = torch.randn(4, model.interface.state_size)
    sizes = [segment.size for segment in model.interface.state]
    for function in ("act", "value"):
        ours, theirs = (getattr(m, function)(*state.split(sizes, 1))[0] for m in (model, learner.model))
        assert torch.equal(ours, theirs)


def open_task():
    from nmbrl.targets.interface import Task

    return Task(env="Pendulum-v1", action_repeat=1, observation_size=3, action_kind="box", action_size=1)


def test_a_run_opens_without_what_only_training_needs(run_path, tmp_path):
    slim = tmp_path / "slim"
    slim.mkdir()
    for name in ("config.yaml", MODEL, CALIBRATION):
        (slim / name).write_bytes((run_path / name).read_bytes())
    run, whole = open_run(slim), open_run(run_path)
    assert (run.id, run.seed, run.config) == (whole.id, 0, tiny(frames=60))
    assert len(run.id) == 16
    executor = load(slim)
    assert executor.interface.task.env == "Pendulum-v1"
    assert executor.interface.parameters == sum(p.numel() for p in run.model.parameters())


def test_calibration_is_real_replay(run_path):
    run = open_run(run_path)
    arrays = run.calibration
    assert arrays["o"].shape == (3, 11, 3)
    assert arrays["a"].shape == (3, 10, 1)
    assert arrays["r"].shape == arrays["c"].shape == (3, 10)
    # Pendulum-v1's observation is cos, sin and velocity.
    np.testing.assert_allclose((arrays["o"][..., :2] ** 2).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (MODEL, b"", "model.safetensors is damaged"),
        (MODEL, None, "has no model.safetensors yet"),
        ("config.yaml", None, "is no run"),
        ("config.yaml", b"env: [", "config.yaml is not YAML"),
        ("config.yaml", b"- env", "holds no settings"),
        ("config.yaml", b"env: Pendulum-v1\nframes: -1\n", "frames: Input should be greater"),
        ("config.yaml", b"env: Pendulum-v1\n", "does not fit the configuration"),
        ("config.yaml", b"\xff\xfe", "cannot read"),
        (CALIBRATION, None, "cannot read .*calibration.npz"),
        (CALIBRATION, b"PK\x03\x04", "calibration.npz is damaged"),
    ],
)
def test_a_damaged_run_is_one_clear_error(run_path, tmp_path, name, content, expected):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.yaml", MODEL, CALIBRATION, CHECKPOINT):
        (broken / file).write_bytes((run_path / file).read_bytes())
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_bytes(content)
    with pytest.raises(NmbrlError, match=expected) as error:
        _ = open_run(broken).calibration
    assert "\n" not in str(error.value)
