"""What a report says, apart from how it looks: the JSON document that `nmbrl-report --json` writes and pages show."""

from typing import Literal

from pydantic import Field

from nmbrl.targets.interface import Frozen

REPORT_FORMAT = 2

# Names of a row's quantities and what they are called, in the order of the tables.
QUANTITIES = {
    "return": "Return, native starts",
    "return_varied": "Return, varied starts",
    "kept": "Return kept, native starts",
    "kept_varied": "Return kept, varied starts",
    "host_latency": "Time of a decision on this host, median",
    "host_latency_p95": "Time of a decision on this host, 95th percentile",
    "host_latency_max": "Time of a decision on this host, worst",
    "parameters": "Parameters",
    "bundle": "Bytes of the bundle",
    "flash": "Flash",
    "ram": "RAM",
    "synaptic_memory": "Synaptic memory",
    "neurons": "Neurons",
    "cores": "Neuromorphic cores",
    "macs": "Multiply-accumulates a decision",
    "instructions": "Instructions a decision",
    "synaptic_operations": "Synaptic operations a decision",
    "neuron_updates": "Neuron updates a decision",
    "messages": "Messages a decision",
    "packets": "Packets a decision",
    "hops": "Hops between tiles a decision",
    "steps": "Time steps a decision",
    "action_error": "Action error, mean",
    "action_error_max": "Action error, largest",
}

Source = Literal["measured", "counted", "modelled"]
Numbers = tuple[float, ...]
Matrix = tuple[Numbers, ...]


class Quantity(Frozen):
    """One number of a report.

    Attributes:
        value: the number.
        unit: of the number and its range; empty for pure numbers.
        source: ``measured`` (on the clock or in the environment), ``counted``, or ``modelled``: counted here, times
            constants that were published by others, which `reference` cites.
        by: who measured or counted: ``this report``, ``the conversion``, or ``the board's record``.
        reference: publication that a modelled number's constants are cited from.
        low: lower end of its range.
        high: upper end of its range.
        range_of: what the range is.
        note: what a reader should know besides.
    """

    value: float = Field(allow_inf_nan=False)
    unit: str
    source: Source
    by: str = "this report"
    reference: str = ""
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    range_of: str = ""
    note: str = ""


class Estimate(Quantity):
    """An energy (J) or a latency (s) of a decision.

    Attributes:
        name: which constants, or what measured it.
        leaves_out: what it does not contain.
    """

    name: str
    leaves_out: str = ""


class Series(Frozen):
    """Numbers of one kind, such as one an episode."""

    values: Numbers
    unit: str
    source: Source


class Prediction(Frozen):
    """How a target's imagination departs from the real environment and from float's imagination.

    Entry k of a list over the horizon is k + 1 decisions ahead; errors are root mean squares.

    Attributes:
        observation: error over all dimensions, in standard deviations of the model's normalisation.
        dimensions: the same, a list of dimensions an entry.
        reward: error of that decision's reward.
        still: as `observation`, for the prediction that nothing changes.
        samples: predictions that an entry is over.
        one_step: as `dimensions`, one decision ahead of every belief.
        departure: distance from float's imagined observations; empty without float.
        departure_reward: the same of rewards.
        departs_after: decisions ahead from which `departure` exceeds float's own error; None if it never does.
        imagined: imagined observations of the traced episode from its anchor on (decisions, dimensions), raw.
        imagined_rewards: their rewards.
        followed: observations predicted one decision ahead along the traced episode (decisions, dimensions), raw.
        followed_rewards: their rewards.
    """

    source: Source = "measured"
    unit: str = "standard deviations"
    reward_unit: str = "reward of one decision"
    observation: Numbers
    dimensions: Matrix
    reward: Numbers
    still: Numbers
    samples: tuple[int, ...]
    one_step: Numbers
    departure: Numbers
    departure_reward: Numbers
    departs_after: int | None
    imagined: Matrix
    imagined_rewards: Numbers
    followed: Matrix
    followed_rewards: Numbers


class Trace(Frozen):
    """One episode of one row, as it went.

    Attributes:
        actions: (decisions, action_size), boxed or one-hot.
        rewards: (decisions,), in the environment's units.
        returned: the return.
    """

    actions: Matrix
    rewards: Numbers
    returned: float


class Behaviour(Frozen):
    """What a row's controller did in the environment.

    Attributes:
        typical: the report's typical episode.
        worst: the report's worst episode.
        visits: share of decisions in each bin of each dimension's histogram (dimensions, bins), all episodes.
    """

    source: Source = "measured"
    typical: Trace
    worst: Trace
    visits: Matrix


class TensorError(Frozen):
    """How far one tensor of one function is from PyTorch's on the run's calibration samples.

    Attributes:
        function: which function gives it.
        tensor: its name.
        dtype: inside the target.
        step: real value of one step of an integer type; None for floats.
        mean: mean absolute error.
        worst: largest absolute error.
        span: largest absolute value of PyTorch's.
    """

    function: str
    tensor: str
    dtype: str
    step: float | None
    mean: float
    worst: float
    span: float


class Sensitivity(Frozen):
    """What rounding one tensor inside an integer model costs (``sensitivity.json`` of a bundle).

    Attributes:
        tensor: its name.
        kind: boundary, activation or weights.
        computation: what makes it.
        alone: error of imagination `ahead` decisions ahead if only this tensor is rounded, in standard deviations.
        ahead: decisions.
    """

    tensor: str
    kind: str
    computation: str
    alone: float
    ahead: int


class Fidelity(Frozen):
    """How far a target is from float, tensor by tensor and decision by decision.

    Attributes:
        tensors: measured by the conversion.
        sensitivity: the costliest tensors first; empty where the conversion was not asked for it.
        checks: bit-exactness checks of the conversion: ``{what: (compared, differing)}``.
        action_errors: share of recorded decisions in each bin of the report's `action_bins`.
        autocorrelation: of the action's difference from float, at lags 0, 1, ... decisions; empty where it is always 0.
    """

    tensors: tuple[TensorError, ...]
    sensitivity: tuple[Sensitivity, ...]
    checks: dict[str, tuple[int, int]]
    action_errors: Numbers
    autocorrelation: Numbers


class Part(Frozen):
    """Work of one layer, population or function a decision.

    Attributes:
        function: the core function that it belongs to; empty where it is none's.
        name: of the layer, population or function.
        counts: by what was counted.
    """

    function: str
    name: str
    counts: dict[str, float]


class Slot(Frozen):
    """One buffer in the scratch memory of C code.

    Attributes:
        function: whose.
        name: of the tensor.
        first_byte: of a row.
        last_byte: of a row.
        first_step: the kernel call that writes it.
        last_step: the last kernel call that reads it.
    """

    function: str
    name: str
    first_byte: int
    last_byte: int
    first_step: int
    last_step: int


class Wire(Frozen):
    """What a board's record says of deadlines and faults.

    Attributes:
        mode: lock step or real time.
        deadline_ms: of a decision; None in lock step.
        decisions: asked for.
        counts: by what was counted: safe actions, late answers, faults asked for, injected, seen and mended.
    """

    mode: str
    deadline_ms: float | None
    decisions: int
    counts: dict[str, float]


class Cost(Frozen):
    """Where a row's cost goes; lists are empty where a target has nothing of the kind.

    Attributes:
        layers: multiply-accumulates of layers.
        populations: spikes and operations of populations of neurons.
        cores: the same of neuromorphic cores.
        memory: bytes by what they hold; first word is the kind of memory.
        slots: the scratch memory.
        functions: instructions of the model's functions on an emulated board, a row alone and in a batch.
        code: instructions of the firmware's functions since start-up.
        wire: deadlines and faults; None for what was not on a board.
    """

    layers: tuple[Part, ...] = ()
    populations: tuple[Part, ...] = ()
    cores: tuple[Part, ...] = ()
    memory: dict[str, int] = Field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    functions: tuple[Part, ...] = ()
    code: dict[str, int] = Field(default_factory=dict)
    wire: Wire | None = None


class Potential(Frozen):
    """What the potentials of some neurons of one population came to in an episode.

    Attributes:
        population: as ``function/population``.
        neurons: which of its neurons.
        low: lowest potential of them, in the network's integers.
        high: highest.
    """

    population: str
    neurons: tuple[int, ...]
    low: int
    high: int


class Activity(Frozen):
    """What the neurons of a Loihi bundle did in the typical episode; its trace is drawn on the page.

    Attributes:
        silence: share of the neurons that send nothing in a decision, mean over the decisions.
        silent: the same of each decision.
        messages: of each decision, all neurons and steps together.
        potentials: of the neurons whose potentials are recorded.
    """

    silence: Quantity
    silent: Series
    messages: Series
    potentials: tuple[Potential, ...]


class Row(Frozen):
    """One run, bundle or board.

    Attributes:
        name: what the report calls it.
        path: as given to the command.
        target: what executed it.
        architecture: of the world model; empty where a record does not say.
        quantities: by the names of `QUANTITIES`; what does not apply is absent.
        energy: estimates of the energy of a decision, the main one first; empty where there is none.
        latency: of a decision, the main one first: modelled for hardware that is not here, else measured.
        returns: of the native episodes.
        returns_varied: of the varied episodes.
        prediction: None for a board, which is asked for decisions only.
        behaviour: in the environment.
        fidelity: None for a board.
        cost: where it goes.
        activity: of its neurons; None for what is no Loihi bundle, for planners that search, and where it failed.
        provenance: where it comes from, by label.
        command: repeats the row's closed loop.
    """

    name: str
    path: str
    target: str
    architecture: str
    quantities: dict[str, Quantity]
    energy: tuple[Estimate, ...]
    latency: tuple[Estimate, ...]
    returns: Series
    returns_varied: Series
    prediction: Prediction | None
    behaviour: Behaviour
    fidelity: Fidelity | None
    cost: Cost
    activity: Activity | None = None
    provenance: dict[str, str]
    command: str


class Shown(Frozen):
    """An episode that films and traces show, the same on every row.

    Attributes:
        seed: of its start.
        varied: whether a random prefix went before.
        because: why this one.
    """

    seed: int
    varied: bool
    because: str


class Traced(Frozen):
    """The recorded episode that predictions are drawn over.

    Attributes:
        of: the row that it was recorded from.
        seed: of its start.
        varied: whether a random prefix went before.
        anchor: decision after which the open-loop prediction sees nothing more.
        observations: real ones, raw (decisions + 1, dimensions).
        rewards: real ones (decisions,).
    """

    of: str
    seed: int
    varied: bool
    anchor: int
    observations: Matrix
    rewards: Numbers


class Comparison(Frozen):
    """Two rows bit for bit.

    Attributes:
        rows: their names.
        decisions: of both closed loops, episode by episode.
        decisions_differing: how many have another action.
        numbers: beliefs, actions, values and predictions that both computed from the same recorded inputs; None if one
            is a board.
        numbers_differing: how many are not the same number.
    """

    rows: tuple[str, str]
    decisions: int
    decisions_differing: int
    numbers: int | None
    numbers_differing: int | None


class Best(Frozen):
    """A named trade-off.

    Attributes:
        what: ``energy`` or ``latency``.
        row: its name.
        front: names of all rows that no other beats in both.
        because: the rule, in words.
    """

    what: Literal["energy", "latency"]
    row: str
    front: tuple[str, ...]
    because: str


class Report(Frozen):
    """A whole report.

    Attributes:
        format: version of this document.
        env: environment of every row.
        action_repeat: physics steps a decision.
        seconds_per_decision: simulated time that a decision lasts.
        planner: what decided.
        episodes: of each kind of start.
        seed: of the first episode.
        reference: name of the row that stands for float; None if neither a run nor an ONNX bundle was given.
        recorded: what the action and prediction errors were measured on; empty if every row is a board's.
        horizons: decisions ahead that prediction errors are quoted at.
        dimensions: names of the observation's dimensions.
        action_kind: ``box`` or ``discrete``.
        typical: the episode whose return is in the middle.
        worst: the episode with the lowest return.
        traced: what predictions are drawn over; None if every row is a board's.
        visit_bins: edges of each dimension's histogram (dimensions, bins + 1).
        action_bins: edges of the histogram of action errors.
        rows: in the order given.
        comparisons: of all pairs of rows.
        best: of return against energy and latency, as far as rows have them.
        failures: one line for everything that could not be made.
        command: repeats the report.
        machine: where it was measured.
        versions: of the packages that took part.
    """

    format: int = REPORT_FORMAT
    env: str
    action_repeat: int
    seconds_per_decision: float
    planner: str
    episodes: int
    seed: int
    reference: str | None
    recorded: str
    horizons: tuple[int, ...]
    dimensions: tuple[str, ...]
    action_kind: Literal["box", "discrete"]
    typical: Shown
    worst: Shown
    traced: Traced | None
    visit_bins: Matrix
    action_bins: Numbers
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    best: tuple[Best, ...]
    failures: tuple[str, ...]
    command: str
    machine: str
    versions: dict[str, str]
