"""The losses as functions of tensors: outputs of members stacked as [M, B, C], labels [B] of int64.

Shape letters: M members, B batch, C classes, D features, K maps of H x W, P = M (M - 1) / 2 pairs of members. All tensors of a call have the same dtype,
float32 or float64, and the same device. A wrong argument is a ValueError that names it, what is expected and what was found.

Every loss of the program is here as a scalar, the mean over members and samples that a training minimises, with the options of its table `[loss.<name>]` as
arguments. These functions are made from the descriptions that the compiled operators carry; `help(losses.adp)` shows arguments, formula and source. The
functions that are written out below have the values per sample, and parts of the losses. Where one of these has the name of a loss, the scalar is called
`<name>_loss`: `cross_entropy` returns [M, B], `cross_entropy_loss` its mean.

The header include/dissent/losses/<name>.hpp describes edge cases and derivatives.
"""
import inspect
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ._operators import operators

MemberTensors = Tensor | Sequence[Tensor]
"""One tensor per member: a sequence of M tensors [B, ...], or one stacked tensor [M, B, ...].

The logits have to be computed from these very tensors."""


def _members(tensors: MemberTensors) -> tuple[list[Tensor], bool]:
    """The form that the operators take: a list, and whether it is one stacked tensor."""
    return ([tensors], True) if isinstance(tensors, Tensor) else (list(tensors), False)


# Losses that train each member.


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each member and sample against smoothed labels, [M, B]."""
    return operators.cross_entropy(logits, labels, smoothing)


def logit_norm(logits: Tensor, labels: Tensor, tau: float = 0.04) -> Tensor:
    """Cross-entropy of each member and sample for logits divided by their norm and by tau, [M, B]."""
    return operators.logit_norm(logits, labels, tau)


def adversarial_inputs(loss: Tensor, inputs: Tensor, epsilon: float) -> Tensor:
    """inputs + epsilon * sign(d loss / d inputs), constant; `loss` is a scalar computed from `inputs`."""
    return operators.adversarial_inputs(loss, inputs, epsilon)


# Diversity of the outputs.


def a2d(logits: Tensor, member: int) -> Tensor:
    """Repulsion of the given member from all others for each sample, [B]; M >= 2."""
    return operators.a2d(logits, member)


def a2d_probabilities(probabilities: Tensor, member: int) -> Tensor:
    """a2d from probabilities instead of logits."""
    return operators.a2d_probabilities(probabilities, member)


def hard_sample_weight(logits: Tensor, labels: Tensor) -> Tensor:
    """Weight of each sample in the repulsion, large where the ensemble is wrong; [B], constant."""
    return operators.hard_sample_weight(logits, labels)


def above_threshold(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Samples whose true class has a probability above `threshold` in every member, bool [B]."""
    return operators.above_threshold(logits, labels, threshold)


# Diversity of saliency maps and input gradients.


def gradcam(logits: Tensor, labels: Tensor | None, feature_maps: MemberTensors, *, target: str = "gt_logit", activation: str = "relu", crop: int = 1,
            similarity: str = "cosine", noise: Tensor | None = None, create_graph: bool = True) -> Tensor:
    """Similarity of the members' saliency maps (SDDE). feature_maps: [B, K, H, W] of each member, in the graph of the logits.

    target: gt_logit, gt_prob, alt_logits, alt_probs, small_logits; activation: relu, abs, none; similarity: cosine, logdet, iou, expcosine, dot.
    noise [M, B, C]: standard normal draws, for small_logits (if None, they are drawn with torch.randn_like).
    create_graph: False for a value without gradient.
    """
    tensors, stacked = _members(feature_maps)
    return operators.gradcam(logits, labels, tensors, stacked, target, activation, crop, similarity, _noise(logits, target, noise), create_graph)


def activation_maps(logits: Tensor, labels: Tensor | None, feature_maps: MemberTensors, *, target: str = "gt_logit", activation: str = "relu",
                    noise: Tensor | None = None, create_graph: bool = False) -> Tensor:
    """The saliency maps, [M, B, H, W], before cropping and standardisation."""
    tensors, stacked = _members(feature_maps)
    return operators.activation_maps(logits, labels, tensors, stacked, target, activation, _noise(logits, target, noise), create_graph)


def _noise(logits: Tensor, target: str, noise: Tensor | None) -> Tensor | None:
    return torch.randn_like(logits) if noise is None and target == "small_logits" else noise


def input_gradient(logits: Tensor, labels: Tensor | None, images: MemberTensors, *, mode: str = "gt", create_graph: bool = True) -> Tensor:
    """Similarity of the members' input gradients; mode: max, min, gt, sum. images: [B, ...] of each member, requiring gradients."""
    tensors, stacked = _members(images)
    return operators.input_gradient(logits, labels, tensors, stacked, mode, create_graph)


def input_gradients(logits: Tensor, labels: Tensor | None, images: MemberTensors, *, mode: str = "gt", create_graph: bool = False) -> Tensor:
    """The input gradients, flattened: [M, B, number of elements of an image]."""
    tensors, stacked = _members(images)
    return operators.input_gradients(logits, labels, tensors, stacked, mode, create_graph)


def similarity(x: Tensor, kind: str = "cosine") -> Tensor:
    """Similarity of members from one vector per member and sample, x [M, B, D]; kind: dot, cosine, expcosine, iou, logdet."""
    return operators.similarity(x, kind)


# Diversity of features: DICE.


def dice(pair_logits: Tensor, tau: float = 10.0) -> Tensor:
    """DICE's repulsion from the logits [P, B] of its discriminator on pairs of members."""
    return operators.dice(pair_logits, tau)


def dice_pair_logits(parameters: Sequence[Tensor], features: Tensor, labels: Tensor, leaky_slope: float = 0.2,
                     partner_rows: Tensor | None = None) -> Tensor:
    """Logits [P, B] of the discriminator with these parameters (label embedding, then weight and bias of each layer); features [M, B, D]."""
    return operators.dice_pair_logits(list(parameters), features, labels, leaky_slope, partner_rows)


def dice_discriminator_loss(joint: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """The loss that trains the discriminator, and its accuracy for each pair [P]; joint, product [P, B]."""
    value, accuracy = operators.dice_discriminator_loss(joint, product)
    return value, accuracy


def roll_within_class(labels: Tensor) -> Tensor:
    """For each sample the index of the previous sample of its class, [B]: the pairs of samples that share nothing but the class."""
    return operators.roll_within_class(labels)


# Samples without labels.


def kl_backward(logits: Tensor, source_mean: Tensor) -> Tensor:
    """Mean over members of KL(mean prediction of the member on this batch || source_mean [C])."""
    return operators.kl_backward(logits, source_mean)


def mean_prediction(logits: Tensor) -> Tensor:
    """Mean prediction over members and samples, [C], constant."""
    return operators.mean_prediction(logits)


# Every loss of the program, from the descriptions in the compiled operators (csrc/loss_operators.hpp).

_ANNOTATIONS = {"tensor": Tensor, "integer": int, "tensors": Sequence[Tensor], "member_tensors": MemberTensors, "number": float, "string": str,
                "boolean": bool, "list of integers": Sequence[int], "list of numbers": Sequence[float], "list of strings": Sequence[str]}


def _parameters(loss: dict[str, Any]) -> list[inspect.Parameter]:
    parameters = []
    for argument in loss["arguments"]:
        annotation: Any = _ANNOTATIONS[argument["kind"]]
        default = None if argument["optional"] else inspect.Parameter.empty
        parameters.append(inspect.Parameter(argument["name"], inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default,
                                            annotation=annotation | None if argument["optional"] else annotation))
    for option in loss["options"]:
        parameters.append(inspect.Parameter(option["name"], inspect.Parameter.POSITIONAL_OR_KEYWORD, default=option["default"],
                                            annotation=_ANNOTATIONS[option["type"]]))
    return parameters


def _docstring(loss: dict[str, Any]) -> str:
    lines = [f"{loss['summary']}; a scalar.", "", f"    {loss['formula']}", ""]
    lines += [f"{argument['name']}: {argument['meaning']}{' (for some options)' if argument['optional'] else ''}" for argument in loss["arguments"]]
    for option in loss["options"]:
        lines.append(f"{option['name']}: {option['meaning']}{'; one of ' + ', '.join(option['choices']) if option['choices'] else ''}")
    if loss["note"]:
        lines.append(f"Note: {loss['note']}")
    return "\n".join([*lines, f"Ref: {loss['citation']}"])


def _function(loss: dict[str, Any]) -> Callable[..., Tensor]:
    """The operator of a loss as a Python function with the loss's own signature and docstring."""
    operator = getattr(operators, loss["operator"])
    signature = inspect.Signature(_parameters(loss), return_annotation=Tensor)
    members = [argument["name"] for argument in loss["arguments"] if argument["kind"] == "member_tensors"]

    def function(*args: Any, **kwargs: Any) -> Tensor:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__name__}(): {error}") from None
        given.apply_defaults()
        stacked = []
        for name in members:
            given.arguments[name], is_stacked = _members(given.arguments[name])
            stacked.append(is_stacked)
        return operator(*given.arguments.values(), *stacked)

    function.__name__ = function.__qualname__ = loss["operator"]
    function.__doc__ = _docstring(loss)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


for _loss in json.loads(operators.describe_losses()):
    globals()[_loss["operator"]] = _function(_loss)

if TYPE_CHECKING:  # a type checker cannot see the functions that the loop defines

    def __getattr__(name: str) -> Callable[..., Tensor]: ...
