"""Many windows read once: what is fitted, and what is trained, after the prior."""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from timediff.network.batch import Batch, Innovations
from timediff.network.factors import CommonFactors
from timediff.network.prior_loss import mean_observed, score_of
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
        standing: where the series stand at the origin of the last horizon; see
            :func:`timediff.network.factors.standing`.
    """

    scale: Float[Tensor, "b t d"]
    z: Float[Tensor, "b t d"]
    e: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    calendar: Float[Tensor, "b t f"]
    standing: Float[Tensor, "b d n"]

    @classmethod
    def read(cls, network: ResidualNetwork, batches: Iterable[Batch]) -> "Pool":
        """Read these windows."""
        parts = [
            (*network.residuals(batch)[1:4], *network.seen(batch), network.standing(batch)[:, -1])
            for batch in batches
        ]
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
        after = self.z[:, -p:], self.observed[:, -p:]
        return network.factors.fit(
            self._read_by_factors(p), after, min(len(self.z), independent / p)
        )

    def _read_by_factors(self, p: int) -> Float[Tensor, "b k"]:
        """What common factors read at the origins of the last horizons; they had read nothing."""
        before = slice(-2 * p, -p)
        return CommonFactors.summary(self.z[:, before], self.observed[:, before], self.standing)

    def factor_losses(
        self, network: ResidualNetwork, unit: Float[Tensor, " d"]
    ) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """The prior's loss of each horizon without and with the common factors.

        Args:
            network: whose factors they are.
            unit: of each series.
        """
        p = network.prediction_length
        shift = network.factors(self._read_by_factors(p))
        z, seen, step = (part[:, -p:] for part in (self.z, self.observed, self.scale / unit))
        seen, score = seen.flatten(1), score_of(network.options)
        without, having = (
            mean_observed(score(step * z, step * m, step * s).flatten(1), seen)
            for m, s in (
                (torch.zeros_like(z), torch.ones_like(z)),
                (shift, network.factors.ratio),
            )
        )
        return without, having
