"""The conditional networks: features, scaling, encoder, prior, TimeGrad itself."""

from timediff.network.base import TimeGradNetwork
from timediff.network.batch import Batch, Innovations, RowBatch, Rows, TrainingBatch
from timediff.network.dynamics import Dynamics
from timediff.network.encoder import Encoder
from timediff.network.factors import CommonFactors
from timediff.network.features import FeatureSizes
from timediff.network.levels import LevelNetwork
from timediff.network.prior import HorizonPrior
from timediff.network.residuals import ResidualNetwork
from timediff.network.scaling import SCALERS, Affine
from timediff.network.whitening import Whitening

__all__ = [
    "SCALERS",
    "Affine",
    "Batch",
    "CommonFactors",
    "Dynamics",
    "Encoder",
    "FeatureSizes",
    "HorizonPrior",
    "Innovations",
    "LevelNetwork",
    "ResidualNetwork",
    "RowBatch",
    "Rows",
    "TimeGradNetwork",
    "TrainingBatch",
    "Whitening",
]
