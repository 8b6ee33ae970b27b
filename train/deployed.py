"""What training hands to conversion: a PyTorch module with the core functions of the interface, and its executor."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from nmbrl.targets.interface import Array, Executor, Interface


class DeployedModel(nn.Module, ABC):
    """A world model, policy and value as pure functions of named vectors; subclasses are the architectures.

    Every method takes and returns tensors (batch, size), float32, in the order and with the sizes of
    `Interface.input_sizes` and `Interface.output_sizes`: state segments first, then ``a`` and ``o``. Observations are
    normalised, rewards and values are in the environment's units. Only operations that every target has are used:
    linear maps, add, subtract, multiply, sigmoid, tanh, ReLU, concatenation and slices.
    """

    interface: Interface
    macs: dict[str, int]

    @abstractmethod
    def observe(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments, previous action, observation -> next state segments (aliases left out)."""

    @abstractmethod
    def imagine(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments, action -> next state segments, reward (batch, 1), continue probability where it varies."""

    @abstractmethod
    def act(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments -> the policy's mean action in [-1, 1], or logits of discrete actions."""

    @abstractmethod
    def value(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments -> discounted sum of future rewards (batch, 1)."""

    def decode(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments -> normalised observation; architectures that alias it need not implement it."""
        raise NotImplementedError

    def core(self, function: str) -> nn.Module:
        """Return one core function as a module of its own, whose ``forward`` converters can trace."""
        return _Core(self, function)


class _Core(nn.Module):
    def __init__(self, model: DeployedModel, function: str) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return getattr(self.model, self.function)(*inputs)


def layer_macs(model: DeployedModel) -> dict[str, dict[str, int]]:
    """Return the multiply-accumulates of each linear layer of each core function, for one sample, in order of use."""
    layers = {module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    counted: dict[str, dict[str, int]] = {}
    for function in model.interface.functions:
        found = counted.setdefault(function, {})

        def count(layer: nn.Module, *_: object, found: dict[str, int] = found) -> None:
            assert isinstance(layer, nn.Linear)
            found[layers[layer]] = found.get(layers[layer], 0) + layer.weight.numel()

        hooks = [layer.register_forward_hook(count) for layer in layers]
        with torch.inference_mode():
            getattr(model, function)(*(torch.zeros(1, size) for size in model.interface.input_sizes(function).values()))
        for hook in hooks:
            hook.remove()
    return counted


class TorchExecutor(Executor):
    """Runs a `DeployedModel` in PyTorch, float32: the reference that every target is compared with."""

    def __init__(self, model: DeployedModel) -> None:
        super().__init__("pytorch", model.interface, model.macs)
        self.model = model.eval()
        self.layers = layer_macs(model)

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`."""
        tensors = [
            torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.interface.input_sizes(function)
        ]
        with torch.inference_mode():
            outputs = getattr(self.model, function)(*tensors)
        return {name: out.numpy() for name, out in zip(self.interface.output_sizes(function), outputs, strict=True)}
