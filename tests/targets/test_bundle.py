"""Bundles on disk: what was written is what is read, and any damage is one clear error."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nmbrl.targets import NmbrlError, load
from nmbrl.targets.bundle import MANIFEST, Function, Provenance, Tensor, read_bundle, write_bundle
from nmbrl.targets.interface import Interface, Normalisation, Segment, Task

FILES = {"act.bin": bytes(range(256)), "parts/value.bin": b"\x00\xff" * 40}


def write(path, files=FILES, **fields):
    task = Task(env="test/E-v0", action_repeat=2, observation_size=2, action_kind="box", action_size=1)
    interface = Interface(
        architecture="gru",
        task=task,
        normalisation=Normalisation(mean=(0.1, -3.0), std=(1.0, 2.0)),
        state=(Segment(name="h", size=2),),
        terminates=False,
        discount=0.99,
        parameters=3,
    )
    tensor = Tensor(name="h", size=2, dtype="int8", scale=0.1, zero_point=-3)
    complete = {
        "target": "tflite",
        "interface": interface,
        "functions": {"act": Function(file="act.bin", inputs=(tensor,), outputs=(tensor,))},
        "provenance": Provenance(run="0" * 16, revision="r", versions={"numpy": "1"}, seed=1, options={"k": [1, "é"]}),
        "measured": {"errors": {"act": 1.5e-7}},
    }
    return write_bundle(path, files, **{**complete, **fields})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "whole"
    write(path)
    return path


def test_reads_what_was_written(tmp_path):
    written = write(tmp_path / "b")
    assert read_bundle(tmp_path / "b") == written
    assert (tmp_path / "b" / "parts" / "value.bin").read_bytes() == FILES["parts/value.bin"]


def test_same_content_gives_the_same_bytes(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_flipped_bit_is_an_error(bundle, data):
    name = data.draw(st.sampled_from([MANIFEST, *FILES]))
    original = (bundle / name).read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    damaged = bytearray(original)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        (bundle / name).write_bytes(damaged)
        with pytest.raises(NmbrlError) as error:
            read_bundle(bundle)
    finally:
        (bundle / name).write_bytes(original)
    assert "\n" not in str(error.value)
    read_bundle(bundle)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_truncated_file_is_an_error(bundle, data):
    name = data.draw(st.sampled_from([MANIFEST, *FILES]))
    original = (bundle / name).read_bytes()
    try:
        (bundle / name).write_bytes(original[: data.draw(st.integers(0, len(original) - 1))])
        with pytest.raises(NmbrlError):
            read_bundle(bundle)
    finally:
        (bundle / name).write_bytes(original)


def test_a_missing_file_is_an_error(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    (tmp_path / "b" / "act.bin").unlink()
    with pytest.raises(NmbrlError, match=r"incomplete: act\.bin is missing"):
        read_bundle(tmp_path / "b")


def test_a_newer_format_says_so(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    manifest = json.loads((bundle / MANIFEST).read_text())
    (tmp_path / "b" / MANIFEST).write_text(json.dumps({**manifest, "format_version": 2, "novelty": 1}))
    with pytest.raises(NmbrlError, match="bundle format 2, this nmbrl reads up to 1"):
        load(tmp_path / "b")


def test_a_name_outside_the_bundle_is_an_error(tmp_path):
    with pytest.raises(NmbrlError, match="outside the bundle"):
        write(tmp_path / "b", {**FILES, "../stray.bin": b"x"})
        read_bundle(tmp_path / "b")


def test_a_function_without_a_recorded_file_is_an_error(tmp_path):
    write(tmp_path / "b", {"parts/value.bin": b"x"})
    with pytest.raises(NmbrlError, match=r"without a hash: act\.bin"):
        read_bundle(tmp_path / "b")


def test_replaces_a_bundle_but_nothing_else(tmp_path):
    write(tmp_path / "b")
    write(tmp_path / "b", measured={"again": 1})
    assert read_bundle(tmp_path / "b").measured == {"again": 1}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(NmbrlError, match="exists and is not a bundle"):
        write(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_failed_write_leaves_the_former_bundle(tmp_path):
    write(tmp_path / "b")
    with pytest.raises(NmbrlError, match="what was there before is unchanged"):
        write(tmp_path / "b", {**FILES, "act.bin/below": b"a file is in the way"})
    assert read_bundle(tmp_path / "b").measured == {"errors": {"act": 1.5e-7}}
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_load_refuses_what_it_cannot_run(bundle, tmp_path):
    with pytest.raises(NmbrlError, match="does not exist"):
        load(tmp_path / "nothing")
    with pytest.raises(NmbrlError, match="neither a run"):
        load(tmp_path)
    with pytest.raises(NmbrlError, match="--simulator is no option of target tflite"):
        load(bundle, simulator="fast")
    write(tmp_path / "b", target="abacus")
    with pytest.raises(NmbrlError, match="target 'abacus', which this nmbrl does not run"):
        load(tmp_path / "b")
