"""Losses for diverse deep ensembles as compiled operators of torch; readers of Dissent's feature caches, checkpoints and results."""
from . import losses
from .cache import CacheRows, FeatureCache, open_cache
from .discriminator import Discriminator
from .ensemble import Ensemble, load_ensemble
from .heads import Heads
from .losses import hard_sample_weight
from .results import open_results
from .sdde import (ADPDiversityLoss, DiceDiversityLoss, DiversityLoss, GradCAMDiversityLoss, InputGradientDiversityLoss, NCLDiversityLoss,
                   OEDiversityLoss)
from .sed import A2DLoss, DivDisLoss, LogitNormLoss

__all__ = [
    "A2DLoss", "ADPDiversityLoss", "CacheRows", "DiceDiversityLoss", "Discriminator", "DivDisLoss", "DiversityLoss", "Ensemble", "FeatureCache",
    "GradCAMDiversityLoss", "Heads", "InputGradientDiversityLoss", "LogitNormLoss", "NCLDiversityLoss", "OEDiversityLoss", "hard_sample_weight",
    "load_ensemble", "losses", "open_cache", "open_results",
]
