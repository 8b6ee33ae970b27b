"""Traces of neurons: the typical episode's, counted anew here, and what is said where there is none."""

import re
import sys
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from nmbrl.runtime.closed_loop import run_episodes
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import make_planner
from nmbrl.runtime.report import activity
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.gather import Settings, gather
from nmbrl.runtime.report.row import Loop
from nmbrl.runtime.report.subject import Subject
from nmbrl.targets import load

# Of each kind of start.
EPISODES = 2


@pytest.fixture(scope="module")
def gathered(loihi_bundle):
    return gather([str(loihi_bundle)], Settings(EPISODES, films=False))


def watch(path, shown):
    """Run an episode; return its actions, and the names of all neurons that send, by decision, once a message."""
    executor, sent = load(path), []

    def look(function, messages):
        decision = executor.counts["observe"] - 1
        sent.extend([] for _ in range(len(sent), decision + 1))
        for population, payloads in messages.items():
            sent[decision] += [(function, population, neuron) for neuron in np.flatnonzero(payloads[0])]

    executor.on_step = look
    environment = Environment(executor.interface.task.env)
    (episode,) = run_episodes(make_planner("policy", executor), [environment], [shown.seed], [shown.varied])
    size = sum(population.size for name in ("observe", "act") for population in executor.networks[name].populations)
    return np.array(episode.actions), sent, size


def test_what_neurons_did_is_what_is_counted_anew(gathered, loihi_bundle):
    report = gathered.report
    row = report.rows[0]
    actions, sent, size = watch(loihi_bundle, report.typical)
    np.testing.assert_allclose(row.behaviour.typical.actions, actions, rtol=1e-3, atol=1e-4)
    made = row.activity
    assert made.messages.values == tuple(len(messages) for messages in sent) and sum(made.messages.values) > 100
    # A decision asks all neurons of both functions.
    shares = [100 - 100 * len(set(messages)) / size for messages in sent]
    np.testing.assert_allclose(made.silent.values, shares, rtol=1e-3, atol=1e-4)
    assert made.silence.value == pytest.approx(np.mean(made.silent.values), rel=1e-3)
    assert made.silence.low <= made.silence.value <= made.silence.high
    assert all(potential.low <= potential.high for potential in made.potentials)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_page_shows_the_trace(loihi_bundle, invoke, tmp_path):
    files = {name: tmp_path / f"report.{name}" for name in ("html", "json")}
    done = invoke(loihi_bundle, "--episodes", EPISODES, "--out", files["html"], "--json", files["json"])
    assert done.exit_code == 0, done.output
    page = files["html"].read_text()
    (row,) = Report.model_validate_json(files["json"].read_text()).rows
    shown = re.search(r'data-path="rows.0.activity.silence">([^<]+)<', page)[1]
    assert shown == f"{row.activity.silence.value:.1f} %"
    source, told = re.search(r'<img src="data:image/svg\+xml,([^"]+)" alt="([^"]+)"', page).groups()
    assert shown in told and "raster" in told
    picture = unquote(source)
    words = [element.text for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Messages: a dot where a neuron sends", "% silent", "act/in.h"} <= set(words)
    # Black follows the theme.
    assert "prefers-color-scheme: dark" in picture and "#000000" not in picture
    assert len(source) < 300_000


def test_what_is_no_loihi_bundle_has_no_trace(bundle):
    gathered = gather([str(bundle("chip", "loihi", spikes=1))], Settings(1, films=False))
    assert gathered.report.rows[0].activity is None and not gathered.traces.pictures


def test_a_search_is_not_traced(gathered, loihi_bundle):
    loops = [Loop(Subject("chip", loihi_bundle, load(loihi_bundle), None), None, [])]
    made = activity.make_traces(gathered.report.model_copy(update={"planner": "cem"}), loops, True, print)
    assert made == activity.Traces()


def test_a_trace_that_cannot_be_drawn_is_one_line(loihi_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "nmbrl.runtime.loihi.pictures", None)
    gathered = gather([str(loihi_bundle)], Settings(1, films=False))
    (failure,) = gathered.report.failures
    assert failure.startswith(f"{loihi_bundle} could not be traced: ") and "\n" not in failure
    assert gathered.report.rows[0].activity is not None and not gathered.traces.pictures


def test_an_interrupted_trace_leaves_the_rest(loihi_bundle, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(activity, "record_trace", interrupt)
    gathered = gather([str(loihi_bundle)], Settings(1, films=False))
    assert gathered.interrupted and gathered.report.failures == ("interrupted: some traces are missing",)
    assert gathered.report.rows[0].activity is None and gathered.report.rows[0].returns.values
