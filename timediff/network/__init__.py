"""The conditional network: features, scaling, encoder, location-scale head, TimeGrad itself."""

from timediff.network.batch import Batch
from timediff.network.encoder import Encoder
from timediff.network.prior import LocationScale
from timediff.network.scaling import SCALERS, Affine
from timediff.network.timegrad import TimeGradNetwork

__all__ = ["SCALERS", "Affine", "Batch", "Encoder", "LocationScale", "TimeGradNetwork"]
