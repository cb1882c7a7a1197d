"""The conditional networks: features, scaling, encoder, prior, TimeGrad itself."""

from timediff.network.base import TimeGradNetwork
from timediff.network.batch import Batch, Innovations, RowBatch, Rows
from timediff.network.dynamics import Dynamics
from timediff.network.encoder import Encoder
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
    "Whitening",
]
