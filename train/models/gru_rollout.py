"""Imagination of the `Gru` with box actions as one operation whose backward pass is written by hand.

Equal to `nmbrl.train.imagination.roll_out` up to rounding, and several times faster: no graph of small operations, no
gradients of the world model's weights, those of the policy's as one product over all steps after the loop, and every
buffer and view of it made once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nmbrl.train.imagination import Explorer, Rollout

if TYPE_CHECKING:
    from nmbrl.train.models.gru import Gru

_aten = torch.ops.aten


class FastImagination:
    """Imagines as `nmbrl.train.imagination.roll_out` does; gradients flow to policy and explorer only.

    The backward pass has to come before the next rollout, which reuses the buffers.

    Args:
        model: world model and policy; its weights may change in place, not be replaced.
        explorer: draws the actions.
    """

    def __init__(self, model: Gru, explorer: Explorer) -> None:
        self.model = model
        self.explorer = explorer
        layers = [*model.policy.hidden, model.policy.output, explorer.spread]
        self._weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
        self._tape: _Tape | None = None

    def __call__(self, start: Tensor, noise: Tensor) -> Rollout:
        """Imagine; see `nmbrl.train.imagination.roll_out`."""
        if self._tape is None or self._tape.noise.shape != noise.shape or self._tape.noise.dtype != noise.dtype:
            self._tape = _Tape(self.model, self.explorer, noise)
        return Rollout(*_Imagination.apply(self._tape, start, noise, *self._weights))


class _Imagination(torch.autograd.Function):
    """(tape, start, noise, policy weights) -> the fields of a `Rollout`."""

    @staticmethod
    def forward(ctx: Any, tape: _Tape, start: Tensor, noise: Tensor, *weights: Tensor) -> Any:
        tape.begin(start, noise)
        for step in tape.steps:
            tape.act(step)
            tape.dream(step)
        ctx.tape, ctx.generation = tape, tape.generation
        actions = tape.actions.clone()
        ctx.mark_non_differentiable(actions)
        return tape.states.clone(), actions, tape.std.log(), tape.rewards, tape.continues

    @staticmethod
    def backward(
        ctx: Any, states: Tensor, _actions: Tensor | None, spread: Tensor, rewards: Tensor, continues: Tensor
    ) -> Any:
        tape: _Tape = ctx.tape
        if tape.generation != ctx.generation:
            raise RuntimeError("backward after the buffers of this rollout were reused")
        tape.begin_backward(spread, rewards, continues)
        into_states = states.unbind()
        into_next = into_states[-1]
        for step, into_state in zip(reversed(tape.steps), into_states[-2::-1], strict=True):
            into_next = tape.step_backward(step, into_next).add_(into_state)
        return None, into_next, None, *tape.weight_gradients()


class _Layer:
    """A hidden SiLU layer over all steps.

    Attributes:
        sums: weighted sums (steps, batch, outputs), which the backward pass replaces by their gradients.
        activations: ``silu(sums)``.
    """

    def __init__(self, layer: nn.Module, sums: Tensor, activations: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.transposed = self.weight.t()
        self.sums, self.activations = sums, activations
        self._sums, self._activations = sums.unbind(), activations.unbind()

    def forward(self, index: int, inputs: Tensor) -> Tensor:
        """Map (batch, inputs) to the activations (batch, outputs)."""
        sums = torch.addmm(self.bias, inputs, self.transposed, out=self._sums[index])
        return _aten.silu.out(sums, out=self._activations[index])

    def backward(self, index: int, into_activations: Tensor) -> Tensor:
        """Gradient with respect to the activations -> with respect to the inputs."""
        sums = self._sums[index]
        return torch.mm(_aten.silu_backward.grad_input(into_activations, sums, grad_input=sums), self.weight)


class _Step:
    """Views of one step in the buffers of a tape; all (batch, ...)."""

    def __init__(self, tape: _Tape, index: int) -> None:
        x, h = tape.x, tape.h
        row, following = tape.rows[index], tape.rows[index + 1]
        self.index = index
        self.state, self.x, self.hidden = row[:, : x + h], row[:, :x], row[:, x : x + h]
        self.next_x, self.next_hidden, self.joint = following[:, :x], following[:, x : x + h], following[:, x:]
        self.arguments, self.noise = tape.arguments[index], tape.noise[index]
        self.argument_x, self.action = self.arguments[:, :x], self.arguments[:, x:]
        self.output = tape.outputs[index]
        self.mean, self.spread = self.output[:, : tape.a], self.output[:, tape.a :]
        self.std = tape.std[index]
        self.gates = tape.gates[index]
        self.reset, self.update = self.gates[:, :h], self.gates[:, h:]
        self.candidate, self.recalled = tape.candidate[index], tape.recalled[index]
        self.prediction = tape.predictions[index]
        self.delta = self.prediction[:, :x]


class _Tape:
    """What the forward pass keeps for the backward pass. Time is the leading axis of every buffer.

    A row is ``[x, h, e]`` with e that of the step before, so that the state ``[x, h]`` and what the head reads,
    ``[h', e]``, are both slices of it.
    """

    def __init__(self, model: Gru, explorer: Explorer, noise: Tensor) -> None:
        def buffer(size: int, count: int | None = None) -> Tensor:
            return noise.new_empty(count or horizon, batch, size)

        horizon, batch, self.a = noise.shape
        self.model, self.explorer = model, explorer
        self.x, self.h = (segment.size for segment in model.interface.state)
        self.e = model.embedding.out_features
        self.generation = 0
        self.rows = buffer(self.x + self.h + self.e, horizon + 1)
        self.states = self.rows[..., : self.x + self.h]
        self.arguments, self.noise = buffer(self.x + self.a), buffer(self.a)
        self.actions = self.arguments[..., self.x :]
        self.outputs, self.std = buffer(2 * self.a), buffer(self.a)
        self.gates, self.candidate, self.recalled = buffer(2 * self.h), buffer(self.h), buffer(self.h)
        self.predictions = buffer(model.head.output.out_features)
        width = model.policy.output.in_features
        self.policy = [_Layer(layer, buffer(width), buffer(width)) for layer in model.policy.hidden]
        self.embedding = _Layer(model.embedding, buffer(self.e), self.rows[1:, :, self.x + self.h :])
        width = model.head.output.in_features
        self.head = _Layer(model.head.hidden[0], buffer(width), buffer(width))
        self.from_input, self.from_hidden = noise.new_empty(batch, 3 * self.h), noise.new_empty(batch, 3 * self.h)
        self.input_gates, self.input_candidate = self.from_input.split([2 * self.h, self.h], 1)
        self.hidden_gates, self.hidden_candidate = self.from_hidden.split([2 * self.h, self.h], 1)
        self.steps = [_Step(self, index) for index in range(horizon)]

    @property
    def rewards(self) -> Tensor:
        return self.predictions[..., self.x].clamp(*self.model.reward_bounds)

    @property
    def continues(self) -> Tensor:
        if not self.model.interface.terminates:
            return torch.ones_like(self.rewards)
        return torch.sigmoid(self.predictions[..., self.x + 1])

    def begin(self, start: Tensor, noise: Tensor) -> None:
        """Take the start, and the weights as they are now."""
        model = self.model
        self.generation += 1
        self.states[0].copy_(start)
        self.noise.copy_(noise)
        output, spread, predict = model.policy.output, self.explorer.spread, model.head.output
        # Mean and spread are one layer here; the head's scale is folded.
        self.output_weight = torch.cat([output.weight.detach(), spread.weight.detach()])
        self.output_bias = torch.cat([output.bias.detach(), spread.bias.detach()])
        self.head_weight, self.head_bias = predict.weight.detach(), predict.bias.detach()
        if predict.scale is not None:
            self.head_weight, self.head_bias = self.head_weight * predict.scale[:, None], self.head_bias * predict.scale
        self.output_transposed, self.head_transposed = self.output_weight.t(), self.head_weight.t()
        self.input_weight, self.input_bias = model.gru_input.weight.detach(), model.gru_input.bias.detach()
        self.hidden_weight, self.hidden_bias = model.gru_hidden.weight.detach(), model.gru_hidden.bias.detach()
        self.input_transposed, self.hidden_transposed = self.input_weight.t(), self.hidden_weight.t()

    def act(self, step: _Step) -> None:
        """Sample the policy."""
        inputs = step.state
        for layer in self.policy:
            inputs = layer.forward(step.index, inputs)
        torch.addmm(self.output_bias, inputs, self.output_transposed, out=step.output)
        step.mean.tanh_()
        step.spread.sigmoid_()
        smallest = self.explorer.smallest_std
        torch.mul(step.spread, 1 - smallest, out=step.std).add_(smallest)
        torch.addcmul(step.mean, step.std, step.noise, out=step.action).clamp_(-1, 1)

    def dream(self, step: _Step) -> None:
        """Imagine one decision."""
        step.argument_x.copy_(step.x)
        embedded = self.embedding.forward(step.index, step.arguments)
        torch.addmm(self.input_bias, embedded, self.input_transposed, out=self.from_input)
        torch.addmm(self.hidden_bias, step.hidden, self.hidden_transposed, out=self.from_hidden)
        torch.add(self.input_gates, self.hidden_gates, out=step.gates).sigmoid_()
        step.recalled.copy_(self.hidden_candidate)
        torch.addcmul(self.input_candidate, step.reset, step.recalled, out=step.candidate).tanh_()
        torch.lerp(step.candidate, step.hidden, step.update, out=step.next_hidden)
        hidden = self.head.forward(step.index, step.joint)
        torch.addmm(self.head_bias, hidden, self.head_transposed, out=step.prediction)
        torch.add(step.x, step.delta, out=step.next_x)
        if self.model.bounds is not None:
            torch.clamp(step.next_x, *self.model.bounds, out=step.next_x)

    def begin_backward(self, spread: Tensor, rewards: Tensor, continues: Tensor) -> None:
        """Take the gradients with respect to log std, rewards and continue probabilities."""
        self.into_log_std = (spread / self.std).unbind()
        into_predictions = torch.empty_like(self.predictions)
        least, greatest = self.model.reward_bounds
        promised = self.predictions[..., self.x]
        into_predictions[..., self.x] = rewards * ((promised >= least) & (promised <= greatest))
        if self.model.interface.terminates:
            into_predictions[..., self.x + 1] = _aten.sigmoid_backward(continues, self.continues)
        self.into_predictions = into_predictions.unbind()
        self.free = (torch.ones(()),) * len(self.steps)
        if self.model.bounds is not None:
            low, high = self.model.bounds
            reached = self.rows[1:, :, : self.x]
            self.free = ((reached > low) & (reached < high)).to(reached.dtype).unbind()
        self.into_deltas = into_predictions[..., : self.x].unbind()

    def step_backward(self, step: _Step, into_next: Tensor) -> Tensor:
        """Gradient with respect to the next state -> with respect to the state."""
        into_x, into_h = into_next.split([self.x, self.h], 1)
        into_x = torch.mul(into_x, self.free[step.index], out=self.into_deltas[step.index])
        into_joint = self.head.backward(step.index, torch.mm(self.into_predictions[step.index], self.head_weight))
        into_hidden, into_embedded = into_joint.split([self.h, self.e], 1)
        into_hidden += into_h
        into_kept = torch.mul(into_hidden, step.update)
        into_candidate = _aten.tanh_backward(into_hidden - into_kept, step.candidate)
        into_update = torch.sub(step.hidden, step.candidate).mul_(into_hidden)
        into_gates = torch.cat([torch.mul(into_candidate, step.recalled), into_update], 1)
        into_gates = _aten.sigmoid_backward.grad_input(into_gates, step.gates, grad_input=into_gates)
        into_input = torch.cat([into_gates, into_candidate], 1)
        into_recalled = torch.cat([into_gates, into_candidate.mul_(step.reset)], 1)
        into_embedded = torch.addmm(into_embedded, into_input, self.input_weight)
        into_arguments = self.embedding.backward(step.index, into_embedded)
        into_argument_x, into_action = into_arguments.split([self.x, self.a], 1)
        into_state = self._act_backward(step, into_action)
        into_state_x, into_state_h = into_state.split([self.x, self.h], 1)
        into_state_x.add_(into_x).add_(into_argument_x)
        into_state_h.add_(into_kept).addmm_(into_recalled, self.hidden_weight)
        return into_state

    def _act_backward(self, step: _Step, into_action: Tensor) -> Tensor:
        """Gradient with respect to the action, which clipping lets pass -> with respect to the state."""
        into_std = torch.addcmul(self.into_log_std[step.index], into_action, step.noise)
        into_std *= 1 - self.explorer.smallest_std
        into_spread = _aten.sigmoid_backward(into_std, step.spread)
        into_mean = _aten.tanh_backward(into_action, step.mean)
        # From here on the tape needs the gradients with respect to the outputs, no longer the outputs.
        torch.cat([into_mean, into_spread], 1, out=step.output)
        gradient = torch.mm(step.output, self.output_weight)
        for layer in reversed(self.policy):
            gradient = layer.backward(step.index, gradient)
        return gradient

    def weight_gradients(self) -> list[Tensor]:
        """Gradients of the policy's weights and biases, layer by layer, then of the spread's."""
        sources = [self.states[:-1], *(layer.activations for layer in self.policy)]
        gradients = []
        for source, into_outputs in zip(sources, [*(layer.sums for layer in self.policy), self.outputs], strict=True):
            flat = into_outputs.flatten(0, 1)
            gradients += [flat.t() @ source.flatten(0, 1), flat.sum(0)]
        weight, bias = gradients[-2:]
        return [*gradients[:-2], weight[: self.a], bias[: self.a], weight[self.a :], bias[self.a :]]
