"""Imagination of the `Gru` with box actions as one operation whose backward pass is written by hand.

Equal to `nmbrl.train.imagination.roll_out` up to rounding, and several times faster: no graph of small operations, no
gradients of the world model's weights, and those of the policy's as one product over all steps after the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nmbrl.train.imagination import Explorer, Rollout

if TYPE_CHECKING:
    from nmbrl.train.models.gru import Gru

_aten = torch.ops.aten
_ACTIVATE = {"silu": _aten.silu.out, "tanh": torch.tanh, "relu": _aten.relu.out}


class _Layer:
    """A hidden layer over all steps: keeps its inputs' weighted sums and its activations.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,).
        activation: name in `nmbrl.train.models.mlp.ACTIVATIONS`.
        sums: buffer (steps, batch, outputs).
        activations: buffer of the same shape; may be a view.
    """

    def __init__(self, weight: Tensor, bias: Tensor, activation: str, sums: Tensor, activations: Tensor) -> None:
        self.weight, self.bias = weight.detach(), bias.detach()
        self.activation = activation
        self.sums, self.activations = sums, activations

    def forward(self, step: int, *parts: Tensor) -> Tensor:
        """Map the inputs (batch, inputs), given in consecutive parts, to the activations (batch, outputs)."""
        sums, bias, column = self.sums[step], self.bias, 0
        for part in parts:
            columns = self.weight[:, column : column + part.shape[1]]
            bias = torch.addmm(bias, part, columns.t(), out=sums)
            column += part.shape[1]
        return _ACTIVATE[self.activation](sums, out=self.activations[step])

    def backward(self, step: int, into_activations: Tensor) -> Tensor:
        """Gradient with respect to the activations -> with respect to the inputs; keeps that of the sums in place."""
        sums, activations = self.sums[step], self.activations[step]
        if self.activation == "silu":
            into_sums = _aten.silu_backward(into_activations, sums)
        elif self.activation == "tanh":
            into_sums = _aten.tanh_backward(into_activations, activations)
        else:
            into_sums = _aten.threshold_backward(into_activations, activations, 0)
        sums.copy_(into_sums)
        return into_sums @ self.weight


def roll_out(model: Gru, explorer: Explorer, start: Tensor, noise: Tensor) -> Rollout:
    """Imagine from `start`; arguments and result as of `nmbrl.train.imagination.roll_out`.

    Gradients flow to the weights of the policy and of the explorer only.
    """
    layers = [*model.policy.hidden, model.policy.output, explorer.spread]
    weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
    return Rollout(*_Imagination.apply(model, explorer.smallest_std, start, noise, *weights))


class _Imagination(torch.autograd.Function):
    """(model, smallest std, start, noise, policy weights) -> the fields of a `Rollout`."""

    @staticmethod
    def forward(ctx: Any, model: Gru, smallest_std: float, start: Tensor, noise: Tensor, *weights: Tensor) -> Any:
        trace = ctx.trace = _Trace(model, smallest_std, start, noise, weights)
        for step in range(len(noise)):
            trace.act(step)
            trace.dream(step)
        ctx.mark_non_differentiable(trace.actions)
        return trace.states, trace.actions, trace.std.log(), trace.rewards, trace.continues

    @staticmethod
    def backward(
        ctx: Any, states: Tensor, _actions: Tensor | None, spread: Tensor, rewards: Tensor, continues: Tensor
    ) -> Any:
        trace: _Trace = ctx.trace
        trace.start_backward(rewards, continues)
        carried = states[-1]
        for step in range(len(trace.noise) - 1, -1, -1):
            into_state, into_action = trace.dream_backward(step, carried)
            carried = trace.act_backward(step, into_action, spread[step]).add_(into_state).add_(states[step])
        return None, None, carried, None, *trace.weight_gradients()


class _Trace:
    """What the forward pass keeps for the backward pass; time is the leading axis of every buffer."""

    def __init__(
        self, model: Gru, smallest_std: float, start: Tensor, noise: Tensor, weights: tuple[Tensor, ...]
    ) -> None:
        def buffer(size: int) -> Tensor:
            return start.new_empty(steps, batch, size)

        steps, batch, self.action_size = noise.shape
        self.model = model
        self.noise = noise
        self.smallest_std = smallest_std
        self.hidden = model.hidden_size
        self.x = start.shape[-1] - self.hidden
        width = model.embedding.out_features

        def layer(weight: Tensor, bias: Tensor, activations: Tensor | None = None) -> _Layer:
            sums = buffer(len(bias))
            return _Layer(
                weight, bias, model.activation, sums, buffer(len(bias)) if activations is None else activations
            )

        # The policy: hidden layers, then mean and spread as one layer.
        self.layers = [layer(*pair) for pair in zip(weights[:-4:2], weights[1:-4:2], strict=True)]
        self.heads = torch.cat([weights[-4], weights[-2]]).detach(), torch.cat([weights[-3], weights[-1]]).detach()
        self.states = start.new_empty(steps + 1, batch, start.shape[-1])
        self.states[0] = start
        self.outputs = buffer(2 * self.action_size)
        self.std, self.actions = buffer(self.action_size), buffer(self.action_size)
        # The world model: [h', e] is what the head reads.
        self.joint, self.gates = buffer(self.hidden + width), buffer(2 * self.hidden)
        self.candidate, self.recalled = buffer(self.hidden), buffer(self.hidden)
        self.embedding = layer(model.embedding.weight, model.embedding.bias, self.joint[..., self.hidden :])
        self.head = layer(model.head.hidden[0].weight, model.head.hidden[0].bias)
        scale = model.head.output.scale
        self.head_weight = model.head.output.weight.detach()
        self.head_bias = model.head.output.bias.detach()
        if scale is not None:
            self.head_weight, self.head_bias = self.head_weight * scale[:, None], self.head_bias * scale
        self.predictions = buffer(len(self.head_bias))

    @property
    def rewards(self) -> Tensor:
        return self.predictions[..., self.x]

    @property
    def continues(self) -> Tensor:
        if not self.model.interface.terminates:
            return torch.ones_like(self.rewards)
        return torch.sigmoid(self.predictions[..., self.x + 1])

    def act(self, step: int) -> None:
        """Sample the policy."""
        inputs = self.states[step]
        for layer in self.layers:
            inputs = layer.forward(step, inputs)
        outputs, size = self.outputs[step], self.action_size
        torch.addmm(self.heads[1], inputs, self.heads[0].t(), out=outputs)
        mean, spread = outputs[:, :size].tanh_(), outputs[:, size:].sigmoid_()
        std, action = self.std[step], self.actions[step]
        torch.mul(spread, 1 - self.smallest_std, out=std).add_(self.smallest_std)
        torch.addcmul(mean, std, self.noise[step], out=action).clamp_(-1, 1)

    def dream(self, step: int) -> None:
        """Imagine one decision."""
        model, size = self.model, self.hidden
        x, h = self.states[step, :, : self.x], self.states[step, :, self.x :]
        joint, embedded = self.joint[step], self.embedding.forward(step, x, self.actions[step])
        from_input = torch.addmm(model.gru_input.bias, embedded, model.gru_input.weight.t())
        from_hidden = torch.addmm(model.gru_hidden.bias, h, model.gru_hidden.weight.t())
        gates, recalled, candidate = self.gates[step], self.recalled[step], self.candidate[step]
        torch.add(from_input[:, : 2 * size], from_hidden[:, : 2 * size], out=gates).sigmoid_()
        recalled.copy_(from_hidden[:, 2 * size :])
        torch.addcmul(from_input[:, 2 * size :], gates[:, :size], recalled, out=candidate).tanh_()
        torch.lerp(candidate, h, gates[:, size:], out=joint[:, :size])
        prediction = self.predictions[step]
        torch.addmm(self.head_bias, self.head.forward(step, joint), self.head_weight.t(), out=prediction)
        torch.add(x, prediction[:, : self.x], out=self.states[step + 1, :, : self.x])
        self.states[step + 1, :, self.x :] = joint[:, :size]

    def start_backward(self, rewards: Tensor, continues: Tensor) -> None:
        """Take the gradients with respect to rewards and continue probabilities (steps, batch)."""
        self.into_predictions = torch.empty_like(self.predictions)
        self.into_predictions[..., self.x] = rewards
        if self.model.interface.terminates:
            self.into_predictions[..., self.x + 1] = _aten.sigmoid_backward(continues, self.continues)
        self.into_outputs = torch.empty_like(self.outputs)

    def dream_backward(self, step: int, into_next: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient with respect to the next state -> with respect to the state and the action."""
        model, size = self.model, self.hidden
        into_prediction = self.into_predictions[step]
        into_prediction[:, : self.x] = into_next[:, : self.x]
        into_joint = self.head.backward(step, into_prediction @ self.head_weight)
        into_h = into_next[:, self.x :] + into_joint[:, :size]
        gates, recalled, candidate = self.gates[step], self.recalled[step], self.candidate[step]
        reset, update = gates[:, :size], gates[:, size:]
        h = self.states[step, :, self.x :]
        into_gates = torch.empty_like(gates)
        into_kept = into_h * update
        into_candidate = _aten.tanh_backward(into_h - into_kept, candidate)
        torch.mul(into_candidate, recalled, out=into_gates[:, :size])
        torch.mul(into_h, h - candidate, out=into_gates[:, size:])
        into_gates = _aten.sigmoid_backward(into_gates, gates)
        into_input = torch.cat([into_gates, into_candidate], 1)
        into_hidden = torch.cat([into_gates, into_candidate * reset], 1)
        into_embedded = torch.addmm(into_joint[:, size:], into_input, model.gru_input.weight)
        into_arguments = self.embedding.backward(step, into_embedded)
        into_state = torch.empty_like(into_next)
        torch.add(into_next[:, : self.x], into_arguments[:, : self.x], out=into_state[:, : self.x])
        torch.addmm(into_kept, into_hidden, model.gru_hidden.weight, out=into_state[:, self.x :])
        return into_state, into_arguments[:, self.x :]

    def act_backward(self, step: int, into_action: Tensor, into_log_std: Tensor) -> Tensor:
        """Gradients with respect to the action (clipping passes them) and log std -> with respect to the state."""
        size, outputs, into_outputs = self.action_size, self.outputs[step], self.into_outputs[step]
        into_std = torch.addcmul(into_log_std / self.std[step], into_action, self.noise[step])
        into_spread = _aten.sigmoid_backward(into_std * (1 - self.smallest_std), outputs[:, size:])
        into_outputs[:, :size] = _aten.tanh_backward(into_action, outputs[:, :size])
        into_outputs[:, size:] = into_spread
        gradient = into_outputs @ self.heads[0]
        for layer in reversed(self.layers):
            gradient = layer.backward(step, gradient)
        return gradient

    def weight_gradients(self) -> list[Tensor]:
        """Gradients of the policy's weights and biases, layer by layer, then of the spread's."""
        gradients = []
        sources = [self.states[:-1], *(layer.activations for layer in self.layers)]
        targets = [*(layer.sums for layer in self.layers), self.into_outputs]
        for source, into_layer in zip(sources, targets, strict=True):
            flat = into_layer.flatten(0, 1)
            gradients += [flat.t() @ source.flatten(0, 1), flat.sum(0)]
        weight, bias = gradients[-2:]
        size = self.action_size
        return [*gradients[:-2], weight[:size], bias[:size], weight[size:], bias[size:]]
