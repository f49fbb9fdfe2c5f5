"""Losses of SED and of its baselines, called like those of sdde.py: they read the keyword arguments `labels` and `logits` only."""
import torch
from torch import Tensor

from . import losses
from .losses import MemberTensors
from .sdde import DiversityLoss, Given, full_precision


class A2DLoss(DiversityLoss):
    """Repulsion of one drawn member from all others, mean over the batch.

    sample_weight: "none", or "hard" for SED's weight, which is large for samples that the ensemble gets wrong.
    Each call draws a member with torch's default generator, or with `generator`; loss(..., member=2) uses member 2 instead.
    """

    def __init__(self, sample_weight: str = "none", generator: torch.Generator | None = None):
        if sample_weight not in ("none", "hard"):
            raise ValueError(f"A2DLoss: sample_weight: expected one of none, hard, found '{sample_weight}'")
        self.sample_weight = sample_weight
        self.generator = generator

    def __call__(self, images: MemberTensors | None = None, labels: Tensor | None = None, logits: Tensor | None = None,
                 features: MemberTensors | None = None, feature_maps: MemberTensors | None = None, *, member: int | None = None) -> Tensor:
        given = Given("A2DLoss", images, labels, logits, features, feature_maps)
        outputs: Tensor = given.need("logits")
        if member is None:
            member = int(torch.randint(len(outputs), (1,), generator=self.generator))
        repulsion = losses.a2d(outputs, member)
        if self.sample_weight == "hard":
            repulsion = repulsion * losses.hard_sample_weight(outputs, given.need("labels"))
        return repulsion.mean()


class DivDisLoss(DiversityLoss):
    """Statistical dependence of the members' predictions over the batch: mode "mi" or "l1", reduction "mean" or "min_each"."""

    def __init__(self, mode: str = "mi", reduction: str = "mean"):
        self.mode = mode
        self.reduction = reduction

    def value(self, given: Given) -> Tensor:
        return losses.divdis(given.need("logits"), self.mode, self.reduction)


class LogitNormLoss(torch.nn.Module):
    """Mean cross-entropy of normalised logits, [B, C] of one network or [M, B, C] of members."""

    def __init__(self, tau: float = 0.04):
        super().__init__()
        self.tau = tau

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = full_precision(logits)
        return losses.logit_norm(logits.unsqueeze(0) if logits.dim() == 2 else logits, labels, self.tau).mean()
