"""Many windows read once: what is fitted, and what is trained, after the prior."""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from timediff.network.batch import Batch, Innovations
from timediff.network.residuals import ResidualNetwork
from timediff.types import Bool, Float, Tensor


class Pool(NamedTuple):
    """What prior and dynamics made of windows; see :class:`Residuals`.

    Attributes:
        scale: of the prior.
        z: residuals; 0 where not observed.
        e: innovations; likewise.
        observed: where there is one.
        calendar: features of the time stamps.
    """

    scale: Float[Tensor, "b t d"]
    z: Float[Tensor, "b t d"]
    e: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    calendar: Float[Tensor, "b t f"]

    @classmethod
    def read(cls, network: ResidualNetwork, batches: Iterable[Batch]) -> "Pool":
        """Read these windows."""
        parts = [(*network.residuals(batch)[1:4], *network.seen(batch)) for batch in batches]
        return cls(*(torch.cat(part) for part in zip(*parts, strict=True)))

    @torch.no_grad()
    def innovations(self, network: ResidualNetwork, independent: int | None) -> Innovations:
        """What the diffusion is trained on; first of all, fit the whitening to it.

        Args:
            network: whose whitening it is.
            independent: see :meth:`Whitening.fit`; None leaves the whitening as it is.
        """
        e, observed = self.e, self.observed
        if independent is not None:
            network.whitening.fit(e.flatten(0, 1), observed.flatten(0, 1), independent)
        noise = None if observed.all() else torch.randn_like(e)
        return Innovations(network.white(e, observed, noise), observed, self.calendar)

    def fit_factors(
        self, network: ResidualNetwork, independent: int
    ) -> Float[Tensor, "v k p d"] | None:
        """Fit the common factors; the windows were read in order, and without any.

        Args:
            network: whose factors they are.
            independent: steps of the data, which the windows may repeat.

        Returns:
            See :meth:`CommonFactors.fit`.
        """
        p = network.prediction_length
        z, observed = (part.unflatten(1, (-1, p)) for part in (self.z, self.observed))
        before, after = ((z[:, block], observed[:, block]) for block in (-2, -1))
        return network.factors.fit(before, after, min(len(z), independent / p))

    def factor_losses(
        self, network: ResidualNetwork, unit: Float[Tensor, " d"]
    ) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """The prior's loss of each horizon without and with the common factors.

        Args:
            network: whose factors they are.
            unit: of each series.
        """
        p = network.prediction_length
        z, observed = (part.unflatten(1, (-1, p)) for part in (self.z, self.observed))
        shift = network.factors(z[:, -2], observed[:, -2])
        z, seen, step = z[:, -1], observed[:, -1].flatten(1), self.scale[:, -p:] / unit
        without, having = (
            network.mean_observed(network.score(step * z, step * m, step * s).flatten(1), seen)
            for m, s in (
                (torch.zeros_like(z), torch.ones_like(z)),
                (shift, network.factors.ratio),
            )
        )
        return without, having
