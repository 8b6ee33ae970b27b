"""What a report says, apart from how it looks: the JSON document that `nmbrl-report --json` writes and pages show."""

from pydantic import Field

from nmbrl.targets.interface import Frozen

REPORT_FORMAT = 1

MEASURED = "measured"
COUNTED = "counted"
ESTIMATED = "estimated"

# Names of a row's quantities and what they are called, in the order of the table.
QUANTITIES = {
    "return": "Return, native starts",
    "return_varied": "Return, varied starts",
    "kept": "Return kept, native starts",
    "kept_varied": "Return kept, varied starts",
    "latency": "Latency of a decision on this host, median",
    "latency_p95": "Latency of a decision on this host, 95th percentile",
    "latency_max": "Latency of a decision on this host, worst",
    "parameters": "Parameters",
    "bytes": "Deployed bytes",
    "ram": "Working memory",
    "synaptic_memory": "Synaptic memory",
    "neurons": "Neurons",
    "cores": "Neuromorphic cores",
    "macs": "Multiply-accumulates a decision",
    "synaptic_operations": "Synaptic operations a decision",
    "neuron_updates": "Neuron updates a decision",
    "messages": "Messages a decision",
    "packets": "Packets a decision",
    "hops": "Hops between tiles a decision",
    "steps": "Time steps a decision",
    "action_error": "Action error, mean",
    "action_error_max": "Action error, largest",
}


class Quantity(Frozen):
    """One number of a report.

    Attributes:
        value: the number.
        unit: of the number and its range; empty for pure numbers.
        source: ``measured`` (here, by this command), ``counted``, ``counted x constant (citation)``, ``estimated``, or
            ``recorded by the conversion``.
        low: lower end of its range.
        high: upper end of its range.
        range_of: what the range is.
        note: what a reader should know besides.
    """

    value: float = Field(allow_inf_nan=False)
    unit: str
    source: str
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    range_of: str = ""
    note: str = ""


class Energy(Quantity):
    """An energy a decision: a `Quantity` in joules.

    Attributes:
        name: which constants.
        leaves_out: what it does not contain.
    """

    name: str
    leaves_out: str


class Series(Frozen):
    """Numbers of one kind, such as one an episode."""

    values: tuple[float, ...]
    unit: str
    source: str


class OpenLoop(Frozen):
    """How imagination departs from the real environment; entry k of every list is k + 1 decisions ahead.

    Attributes:
        observation: root mean square error over all dimensions, in standard deviations of the model's normalisation.
        dimensions: the same, a list of dimensions an entry.
        reward: root mean square error of that decision's reward.
        still: as `observation`, for the prediction that nothing changes.
        samples: predictions that an entry is over.
    """

    source: str = MEASURED
    observation_unit: str = "standard deviations"
    observation: tuple[float, ...]
    dimensions: tuple[tuple[float, ...], ...]
    reward_unit: str = "reward of one decision"
    reward: tuple[float, ...]
    still: tuple[float, ...]
    samples: tuple[int, ...]


class Row(Frozen):
    """One run or bundle.

    Attributes:
        name: what the report calls it.
        path: as given to the command.
        target: what executed it.
        architecture: of the world model.
        quantities: by the names of `QUANTITIES`; what does not apply is absent.
        energy: estimates of the energy of a decision, the main one first; empty where there is none.
        returns: of the native episodes.
        returns_varied: of the varied episodes.
        open_loop: error of imagination.
        provenance: where it comes from, by label.
        command: repeats the row's closed loop.
    """

    name: str
    path: str
    target: str
    architecture: str
    quantities: dict[str, Quantity]
    energy: tuple[Energy, ...]
    returns: Series
    returns_varied: Series
    open_loop: OpenLoop
    provenance: dict[str, str]
    command: str


class Report(Frozen):
    """A whole report.

    Attributes:
        format: version of this document.
        env: environment of every row.
        action_repeat: physics steps a decision.
        planner: what decided.
        episodes: of each kind of start.
        seed: of the first episode.
        reference: name of the row that stands for float; None if neither a run nor an ONNX bundle was given.
        recorded: what the action and prediction errors were measured on.
        horizons: decisions ahead that prediction errors are quoted at.
        rows: in the order given.
        failures: one line for everything that could not be evaluated.
        command: repeats the report.
        machine: where it was measured.
        versions: of the packages that took part.
    """

    format: int = REPORT_FORMAT
    env: str
    action_repeat: int
    planner: str
    episodes: int
    seed: int
    reference: str | None
    recorded: str
    horizons: tuple[int, ...]
    rows: tuple[Row, ...]
    failures: tuple[str, ...]
    command: str
    machine: str
    versions: dict[str, str]
