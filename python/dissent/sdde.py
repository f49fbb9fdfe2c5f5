"""Losses as objects with the names, arguments and calls of SDDE's package: only the import has to be changed.

Each is called with keyword arguments `images`, `labels`, `logits`, `features`, `feature_maps`, or with these five in this order, and reads what it needs:

    labels        [B] int64
    logits        [M, B, C]
    features      M tensors [B, D], or one [M, B, D]
    feature_maps  M tensors [B, K, H, W], or one [M, B, K, H, W]
    images        M tensors [B, ...], or one [M, B, ...]; they require gradients

Ref: github.com/corl-team/sdde, openood/trainers/diversity.
"""
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import losses
from .discriminator import Discriminator
from .losses import MemberTensors


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it has half precision (as outputs under autocast have), which the losses do not take."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclasses.dataclass(frozen=True)
class Given:
    """The arguments of a call of a loss. need(name) returns one of them, or raises a ValueError if it is missing."""

    loss: str
    images: MemberTensors | None
    labels: Tensor | None
    logits: Tensor | None
    features: MemberTensors | None
    feature_maps: MemberTensors | None

    def need(self, name: str) -> Any:
        value = getattr(self, name)
        if value is None or len(value) == 0:
            raise ValueError(f"{self.loss}: {name}: expected it, found nothing")
        return full_precision(value) if name == "logits" else value


class DiversityLoss:
    """A loss to be minimised; calling it returns a scalar tensor."""

    def __call__(self, images: MemberTensors | None = None, labels: Tensor | None = None, logits: Tensor | None = None,
                 features: MemberTensors | None = None, feature_maps: MemberTensors | None = None) -> Tensor:
        return self.value(Given(type(self).__name__, images, labels, logits, features, feature_maps))

    def value(self, given: Given) -> Tensor:
        raise NotImplementedError


class NCLDiversityLoss(DiversityLoss):
    """Negative correlation learning."""

    def value(self, given: Given) -> Tensor:
        return losses.ncl(given.need("logits"))


class ADPDiversityLoss(DiversityLoss):
    """Adaptive diversity promoting regulariser."""

    def __init__(self, alpha: float = 2.0, beta: float = 0.5):
        self.alpha = alpha
        self.beta = beta

    def value(self, given: Given) -> Tensor:
        return losses.adp(given.need("logits"), given.need("labels"), self.alpha, self.beta)


class OEDiversityLoss(DiversityLoss):
    """Outlier exposure."""

    def value(self, given: Given) -> Tensor:
        return losses.oe(given.need("logits"))


class GradCAMDiversityLoss(DiversityLoss):
    """Similarity of saliency maps (SDDE).

    mode: gt_logit, gt_prob, alt_logits, alt_probs, small_logits; similarity: cosine, logdet, iou, expcosine; padding: pixels removed from each side of a
    map; activation: relu, abs, none.
    """

    def __init__(self, mode: str = "gt_logit", similarity: str = "cosine", padding: int = 1, activation: str = "relu"):
        self.mode = mode
        self.similarity = similarity
        self.padding = padding
        self.activation = activation

    def value(self, given: Given) -> Tensor:
        labels = None if self.mode == "small_logits" else given.need("labels")
        return losses.gradcam(given.need("logits"), labels, given.need("feature_maps"), target=self.mode, activation=self.activation,
                              crop=self.padding, similarity=self.similarity)

    def _get_outputs(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """The output of each member that the maps differentiate, [M]: its selected outputs, summed over samples. For inspection; the loss does not call it."""
        if self.mode in ("gt_prob", "alt_probs"):
            logits = logits.softmax(-1)
        if self.mode == "small_logits":
            order = (logits + torch.randn_like(logits) * 1e-4).detach().argsort(-1)
            return logits.take_along_dim(order[..., :logits.shape[-1] // 2], -1).mean(-1).sum(1)
        if labels is None:
            raise ValueError(f"GradCAMDiversityLoss: labels: expected them for mode {self.mode}, found nothing")
        of_label = logits.take_along_dim(labels[None, :, None], 2).squeeze(2)
        if self.mode in ("gt_logit", "gt_prob"):
            return of_label.sum(1)
        if self.mode in ("alt_logits", "alt_probs"):
            whole = logits.sum(2) if self.mode == "alt_logits" else 1
            return ((whole - of_label) / (logits.shape[2] - 1)).sum(1)
        raise ValueError(f"GradCAMDiversityLoss: mode: expected one of gt_logit, gt_prob, alt_logits, alt_probs, small_logits, found {self.mode!r}")

    def get_salience_maps(self, images: MemberTensors | None, labels: Tensor | None, logits: Tensor, feature_maps: MemberTensors) -> Tensor:
        """The maps [M, B, H, W] after the activation and before cropping, with their graph."""
        return losses.activation_maps(full_precision(logits), labels, feature_maps, target=self.mode, activation=self.activation, create_graph=True)


class InputGradientDiversityLoss(DiversityLoss):
    """Similarity of input gradients; mode: max, min, gt, sum."""

    def __init__(self, mode: str = "gt"):
        self.mode = mode

    def value(self, given: Given) -> Tensor:
        labels = given.need("labels") if self.mode == "gt" else None
        return losses.input_gradient(given.need("logits"), labels, given.need("images"), mode=self.mode)

    def get_salience_maps(self, images: MemberTensors, labels: Tensor | None, logits: Tensor) -> Tensor:
        """The input gradients [M, B, ...] in the shape of the images, with their graph."""
        gradients = losses.input_gradients(full_precision(logits), labels if self.mode == "gt" else None, images, mode=self.mode, create_graph=True)
        return gradients.reshape(*gradients.shape[:2], *images[0].shape[1:])


class DiceDiversityLoss(DiversityLoss):
    """Information that the features of two members share beyond the label.

    discriminator: maps features [B, D], features [B, D], labels [B] to logits [B]; a dissent.Discriminator is evaluated for all pairs at once.
    """

    def __init__(self, discriminator: Callable[[Tensor, Tensor, Tensor], Tensor], tau: float = 10.0):
        self.discriminator = discriminator
        self.tau = tau

    def pair_diversity(self, features1: Tensor, features2: Tensor, labels: Tensor) -> Tensor:
        """The term of one pair of members, whose features are [B, D]: a scalar."""
        return losses.dice(full_precision(self.discriminator(full_precision(features1), full_precision(features2), labels)).unsqueeze(0), self.tau)

    def value(self, given: Given) -> Tensor:
        features, labels = given.need("features"), given.need("labels")
        stacked = full_precision(features if isinstance(features, Tensor) else torch.stack(list(features)))
        if isinstance(self.discriminator, Discriminator):
            return losses.dice(self.discriminator.pair_logits(stacked, labels), self.tau)
        if len(stacked) < 2:
            raise ValueError(f"DiceDiversityLoss: features: expected those of at least 2 members, found {len(stacked)}")
        pairs = [full_precision(self.discriminator(stacked[i], stacked[j], labels)) for i in range(len(stacked)) for j in range(i + 1, len(stacked))]
        return losses.dice(torch.stack(pairs), self.tau)


# The functions of SDDE's `common`, on tensors [M, B, ...] with one statistic per member and sample.


def non_diag(a: Tensor) -> Tensor:
    """The elements of matrices [..., M, M] outside the diagonal, row by row: [..., M, M - 1]."""
    m = a.shape[-1]
    return a[..., ~torch.eye(m, dtype=torch.bool, device=a.device)].reshape(*a.shape[:-1], m - 1)


def cosine_similarity(stats: Tensor, normalize: bool = True) -> Tensor:
    """Mean over pairs of members and samples of the cosine, or of the product (normalize=False)."""
    return losses.similarity(stats.flatten(2), "cosine" if normalize else "dot")


def exp_cosine_similarity(stats: Tensor, normalize: bool = True) -> Tensor:
    """Logarithm of half the sum of exp(cosine) over pairs and samples."""
    if not normalize:
        raise ValueError("exp_cosine_similarity: normalize: expected True, found False")
    return losses.similarity(stats.flatten(2), "expcosine")


def neglogdet_similarity(stats: Tensor) -> Tensor:
    """Minus the log-determinant of the members' cosines."""
    return losses.similarity(stats.flatten(2), "logdet")


def iou_similarity(stats: Tensor) -> Tensor:
    """Jaccard similarity of statistics that are scaled to 0 .. 1."""
    return losses.similarity(stats.flatten(2), "iou")
