"""What drives a linear law: independent vectors of mean 0, drawn step by step."""

from abc import ABC, abstractmethod

import numpy as np

from timediff.errors import OptionError


class Innovations(ABC):
    """A law of vectors of D numbers with mean 0."""

    num_series: int
    covariance: np.ndarray | None = None

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Independent vectors, ``(*shape, D)``."""


class Gaussian(Innovations):
    """Normal vectors.

    Args:
        covariance: ``(D, D)``, positive definite.

    Raises:
        OptionError: it is not.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        self.covariance = np.asarray(covariance, float)
        try:
            self.factor = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError as error:
            raise OptionError(f"covariance must be square and positive definite: {error}") from (
                error
            )
        self.num_series = len(self.covariance)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Independent vectors, ``(*shape, D)``."""
        return rng.standard_normal((*shape, self.num_series)) @ self.factor.T


class StudentT(Gaussian):
    r"""Vectors of a multivariate t law: heavy tails, and extremes that come together.

    .. math:: e = \sqrt{(\nu - 2) / w} \; F z, \quad w \sim \chi^2_\nu, \quad z \sim N(0, I)

    Args:
        covariance: of the vectors (not the scale matrix of the t law), ``(D, D)``.
        df: :math:`\nu`, degrees of freedom, above 2.
    """

    def __init__(self, covariance: np.ndarray, df: float) -> None:
        super().__init__(covariance)
        if not df > 2:
            raise OptionError(f"df must be above 2, for a finite variance; got {df}")
        self.df = df

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Independent vectors, ``(*shape, D)``."""
        normal = super().draw(shape, rng)
        return normal * np.sqrt((self.df - 2) / rng.chisquare(self.df, (*shape, 1)))


class Clayton(Innovations):
    r"""Clayton copula with reflected exponential margins: rare falls, in all series at once.

    .. math:: e_d = 1 - t_d, \quad t_d = \log(1 + E_d / V) / \theta, \quad
        E_d \sim \mathrm{Exp}(1), \quad V \sim \Gamma(1 / \theta)

    Each :math:`t_d` is Exp(1), so a margin has mean 0, variance 1, at most 1 and no lower bound;
    :math:`u_d = e^{-t_d}` is uniform with the copula
    :math:`(\sum_d u_d^{-\theta} - D + 1)^{-1/\theta}`. Two series have lower-tail dependence
    :math:`2^{-1/\theta}` and no upper one: nothing that a covariance could tell.

    Args:
        num_series: D.
        theta: :math:`\theta > 0`, strength of the dependence.

    References:
        Marshall & Olkin 1988 (the draw); Nelsen 2006, *An Introduction to Copulas*.
    """

    def __init__(self, num_series: int, theta: float) -> None:
        if not theta > 0:
            raise OptionError(f"theta must be above 0; got {theta}")
        self.num_series, self.theta = num_series, theta

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Independent vectors, ``(*shape, D)``."""
        common = rng.standard_gamma(1 / self.theta, (*shape, 1))
        own = rng.standard_exponential((*shape, self.num_series))
        return 1 - np.log1p(own / common) / self.theta
