"""The losses as functions of tensors: outputs of members stacked as [M, B, C], labels [B] of int64.

Shape letters: M members, B batch, C classes, D features, K maps of H x W, P = M (M - 1) / 2 pairs of members. Tensors are of float32 or float64, all of
one dtype and device. A wrong argument is a ValueError that names it, what is expected and what was found. Each function is the C++ function of the same
name; formula, edge cases and source stand in its header, include/dissent/losses/<name>.hpp.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from ._operators import operators

MemberTensors = Tensor | Sequence[Tensor]
"""One tensor for each member: a sequence of M tensors [B, ...], or one stacked tensor [M, B, ...].

The logits have to be computed from these very tensors."""


def _members(tensors: MemberTensors) -> tuple[list[Tensor], bool]:
    """What the operators take: a list, and whether it is one stacked tensor."""
    return ([tensors], True) if isinstance(tensors, Tensor) else (list(tensors), False)


# Losses that train each member.


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each member and sample against smoothed labels, [M, B]."""
    return operators.cross_entropy(logits, labels, smoothing)


def logit_norm(logits: Tensor, labels: Tensor, tau: float = 0.04) -> Tensor:
    """Cross-entropy of logits divided by their length and by tau, [M, B]."""
    return operators.logit_norm(logits, labels, tau)


def adversarial_inputs(loss: Tensor, inputs: Tensor, epsilon: float) -> Tensor:
    """inputs + epsilon * sign(d loss / d inputs), constant; `loss` is a scalar computed from `inputs`."""
    return operators.adversarial_inputs(loss, inputs, epsilon)


# Diversity in the outputs.


def a2d(logits: Tensor, member: int) -> Tensor:
    """Repulsion of one drawn member from all others, [B]; M >= 2."""
    return operators.a2d(logits, member)


def a2d_probabilities(probabilities: Tensor, member: int) -> Tensor:
    """The same of probabilities."""
    return operators.a2d_probabilities(probabilities, member)


def divdis(logits: Tensor, mode: str = "mi", reduction: str = "mean") -> Tensor:
    """Mutual information of pairs of members over the batch ("mi"), or minus their L1 distance ("l1"); reduction "mean" or "min_each"."""
    return operators.divdis(logits, mode, reduction)


def ncl(logits: Tensor) -> Tensor:
    """Negative correlation learning; M >= 2."""
    return operators.ncl(logits)


def adp(logits: Tensor, labels: Tensor, alpha: float = 2.0, beta: float = 0.5) -> Tensor:
    """Adaptive diversity promoting regulariser: alpha * negative entropy of the mean + beta * negative log-determinant."""
    return operators.adp(logits, labels, alpha, beta)


def hard_sample_weight(logits: Tensor, labels: Tensor) -> Tensor:
    """Weight of each sample in the repulsion, large where the ensemble is wrong; [B], constant."""
    return operators.hard_sample_weight(logits, labels)


def above_threshold(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Samples whose true class every member gives more than `threshold`, bool [B]."""
    return operators.above_threshold(logits, labels, threshold)


# Diversity in what members look at.


def gradcam(logits: Tensor, labels: Tensor | None, feature_maps: MemberTensors, *, target: str = "gt_logit", activation: str = "relu", crop: int = 1,
            similarity: str = "cosine", noise: Tensor | None = None, create_graph: bool = True) -> Tensor:
    """Likeness of the members' saliency maps (SDDE). feature_maps: [B, K, H, W] of each member, in the graph of the logits.

    target: gt_logit, gt_prob, alt_logits, alt_probs, small_logits; activation: relu, abs, none; similarity: cosine, logdet, iou, expcosine, dot.
    noise [M, B, C]: standard normal draws, for small_logits (drawn by torch if it is None).
    """
    tensors, stacked = _members(feature_maps)
    return operators.gradcam(logits, labels, tensors, stacked, target, activation, crop, similarity, _noise(logits, target, noise), create_graph)


def activation_maps(logits: Tensor, labels: Tensor | None, feature_maps: MemberTensors, *, target: str = "gt_logit", activation: str = "relu",
                    noise: Tensor | None = None, create_graph: bool = False) -> Tensor:
    """The saliency maps themselves, [M, B, H, W], to look at."""
    tensors, stacked = _members(feature_maps)
    return operators.activation_maps(logits, labels, tensors, stacked, target, activation, _noise(logits, target, noise), create_graph)


def _noise(logits: Tensor, target: str, noise: Tensor | None) -> Tensor | None:
    return torch.randn_like(logits) if noise is None and target == "small_logits" else noise


def input_gradient(logits: Tensor, labels: Tensor | None, images: MemberTensors, *, mode: str = "gt", create_graph: bool = True) -> Tensor:
    """Likeness of the members' input gradients; mode: max, min, gt, sum. images: [B, ...] of each member, requiring gradients."""
    tensors, stacked = _members(images)
    return operators.input_gradient(logits, labels, tensors, stacked, mode, create_graph)


def input_gradients(logits: Tensor, labels: Tensor | None, images: MemberTensors, *, mode: str = "gt", create_graph: bool = False) -> Tensor:
    """The input gradients themselves, flattened: [M, B, elements of an image]."""
    tensors, stacked = _members(images)
    return operators.input_gradients(logits, labels, tensors, stacked, mode, create_graph)


def similarity(x: Tensor, kind: str = "cosine") -> Tensor:
    """How alike members are, from one vector each, x [M, B, D]; kind: dot, cosine, expcosine, iou, logdet."""
    return operators.similarity(x, kind)


# Diversity in features: DICE.


def dice(pair_logits: Tensor, tau: float = 10.0) -> Tensor:
    """DICE's repulsion from the logits [P, B] of its discriminator on pairs of members."""
    return operators.dice(pair_logits, tau)


def dice_pair_logits(parameters: Sequence[Tensor], features: Tensor, labels: Tensor, leaky_slope: float = 0.2,
                     partner_rows: Tensor | None = None) -> Tensor:
    """Logits [P, B] of the discriminator with these parameters (label embedding, then weight and bias of each layer); features [M, B, D]."""
    return operators.dice_pair_logits(list(parameters), features, labels, leaky_slope, partner_rows)


def dice_discriminator_loss(joint: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """What the discriminator is trained with, and how often it is right for each pair [P]; joint, product [P, B]."""
    value, accuracy = operators.dice_discriminator_loss(joint, product)
    return value, accuracy


def roll_within_class(labels: Tensor) -> Tensor:
    """For each sample the one before it in its class, [B]: rows of the pairs that share a class and nothing else."""
    return operators.roll_within_class(labels)


# On samples without labels.


def oe(logits: Tensor) -> Tensor:
    """Outlier exposure: cross-entropy to the uniform distribution."""
    return operators.oe(logits)


def kl_backward(logits: Tensor, source_mean: Tensor) -> Tensor:
    """Mean over members of KL(mean prediction of the member on this batch || source_mean [C])."""
    return operators.kl_backward(logits, source_mean)


def mean_prediction(logits: Tensor) -> Tensor:
    """Mean prediction over members and samples, [C], constant."""
    return operators.mean_prediction(logits)
