"""Every option of the model and its training, once: name, default, meaning; and the presets."""

import dataclasses
import numbers
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timediff.diffusion import DENOISERS, PARAMETERIZATIONS, SAMPLERS, SCHEDULES, WEIGHTINGS
from timediff.diffusion.model import LOSSES
from timediff.errors import OptionError
from timediff.network.encoder import CELLS
from timediff.network.scaling import SCALERS
from timediff.network.walk import PRECISIONS
from timediff.registry import unknown_name

Plugin = Any  # a registered name, or an object


@dataclass(frozen=True)
class Options:
    """What a TimeGrad model is made of. ``None`` means: worked out from the data.

    Attributes:
        context_length: steps the RNN reads before the forecast; the prediction length if None.
            With a prior, it is rounded up to whole horizons.
        prior: whether a network shared by all series forecasts location and scale of each, and
            the diffusion models what is left (else the scaled values themselves, as published).
        lookback: latest values of a series that the prior reads; two horizons or the longest
            season of up to 400 steps if None, at most half of the history.
        seasonal_values: past values of the same season that the prior reads, of the longest
            season; three of shorter ones.
        prior_members: priors, each from other random weights, whose forecasts are averaged.
        prior_width: units of the prior's encoder.
        prior_dropout: probability in the prior.
        prior_loss: ``"crps"`` or ``"nll"``, of a Gaussian of the prior's location and scale.
        prior_reach: scales away from the prior's location that an outcome may lie in training
            without costing more than its score; widens the scales where most outcomes are exactly
            as forecast (counts, zeros), and the score alone would shrink them to nothing; None for
            the score alone.
        prior_balance: how much more the prior's loss of a series weighs the larger the series is:
            0 for all alike, 1 as in the units of the data.
        prior_epochs: epochs in which the prior is trained, before the diffusion is.
        factors: common factors at most of what the prior missed of all series in the horizon
            before, and as many of that and of where they stand; which of the two have effects on a
            series, and how far these are shrunk, cross-validation says. All are dropped where the
            held-out windows are forecast worse with them; 0 for none.
        prior_rows: pasts of single series in a batch of the prior's training.
        prior_lr: learning rate of the prior at its highest, unless ``max_lr`` is given.
        prior_passes: how often the training of the prior may go over the data at most, counted in
            horizons that do not overlap, of each series; epochs are made shorter, down to two
            batches. None does not limit it.
        lags: without a prior, earlier values given to each step; from the frequency, capped by
            the history, if None; ``"published"`` for those of the reference code.
        scaling: without a prior, ``"mean"`` absolute value, ``"standard"``, ``"robust"`` (median,
            quartiles), ``"none"``.
        scale_window: without a prior, what a scale is computed from: the whole ``"series"`` or
            the ``"context"``.
        embedding_dim: length of the learned embedding of each series; 0 for none.
        cell: ``"gru"`` or ``"lstm"``.
        hidden_size: units of the RNN.
        num_layers: layers of the RNN.
        dropout: probability in the denoiser and between the layers of the RNN.
        cond_dim: length of the condition, a linear map of the RNN's state; None takes the state.
        denoiser: ``"mlp"``, ``"wavenet"`` or a :class:`~timediff.diffusion.Denoiser`, which
            is copied.
        denoiser_options: keyword arguments of a named denoiser.
        marginal_components: normal laws in a mixture that is fitted to single innovations of all
            series. What is best for numbers with this law is added to what the denoiser predicts,
            so that it need not learn heavy tails or peaks; 1 for the standard normal law, with
            which nothing is added. If None, 4 where the history has fewer than 100 horizons, else
            1: of more the denoiser learns the law by itself. Not without a prior.
        diff_steps: K, the number of noising steps.
        schedule: ``"linear"``, ``"cosine"``, ``"quadratic"``, ``"sigmoid"``, ``"constant"``,
            ``"jsd"`` or a :class:`~timediff.diffusion.NoiseSchedule`.
        beta_start: first variance of a schedule given by its betas.
        beta_end: last variance of a schedule given by its betas.
        zero_terminal: rescale the schedule to end in pure noise.
        parameterization: ``"v"``, ``"epsilon"``, ``"x0"``, ``"score"`` or an object.
        loss: ``"l2"``, ``"l1"`` or ``"huber"``.
        weighting: how much the loss of each diffusion step weighs: ``"simple"`` (all alike, in
            what the network predicts), ``"variational"`` (as in the bound of the likelihood),
            ``"min_snr"`` (as an error of x0, by its signal-to-noise ratio), ``"p2"`` or a
            :class:`~timediff.diffusion.Weighting`.
        min_snr: the highest weight of ``"min_snr"``, 5 if None; a number chooses that weighting.
        variance_weight: learn the variance of the reverse steps, too, for the sampler ``"ddpm"``
            with ``variance="learned"`` and for the likelihood: the weight of the variational bound
            in the loss (0.001 in Nichol & Dhariwal 2021); None does not learn it.
        loss_window: average the loss over ``"all"`` steps of a window, or the ``"horizon"``.
        sampler: ``"adams"``, ``"dpm_solver"``, ``"ddim"``, ``"ddpm"`` or a
            :class:`~timediff.diffusion.Sampler`.
        steps: reverse steps of a named sampler; all K if None.
        sampler_options: further keyword arguments of a named sampler.
        start: where the chain starts without a prior: from ``"standard"`` noise as
            published, or from the moments of the ``"context"``.
        bound_samples: keep what is drawn within the range that training saw, and with a prior
            also the paths of series without a negative value at or above 0, and those of counts
            (whole numbers in all of the history) at whole numbers.
        batch_size: windows of a batch in which the diffusion is trained.
        num_batches_per_epoch: batches of an epoch, at most.
        passes: as ``prior_passes``, of the diffusion, in horizons of all series.
        max_epochs: epochs in which the diffusion is trained, unless stopped early.
        diffusion_runs: how often the diffusion is trained, each time from other random weights;
            kept is the one with the lowest energy score of its paths of the held-out windows. Of
            three, or of two, the last is without common factors. Once where nothing is held out, or
            where training goes on from a predictor or a checkpoint. Callbacks see all runs, the
            user's checkpoints are of the first.
        spread: whether what the series share is drawn wider or narrower than training windows say,
            by the factor that held-out windows ask for. Not without a prior.
        lr: learning rate at its highest.
        max_lr: peak of a one-cycle learning rate; None takes ``lr``, after a short
            rise, and lets it fall to 0.
        weight_decay: of Adam.
        gradient_clip: largest norm of a gradient; None does not clip.
        ema_decay: decay of the average of weights that the predictor gets; None for no average.
        validation_windows: horizons held out at the end of the training data, when no validation
            data are given, to stop early and keep the best weights; a tenth of the history at most,
            or, of fewer than ten horizons, two, of fewer than six one, of fewer than three none.
            0 trains on everything to the end. Their windows overlap: four or more begin within a
            horizon.
        refit: share of the history from which on, if it is held out, all stages are trained once
            more at the end, on all of the history, for as many epochs as the held-out windows found
            best; None never does. Not without a prior, nor where validation data are given or
            training goes on from a predictor or a checkpoint.
        patience: epochs without a better validation loss before training stops.
        matmul_precision: of the products of matrices when predicting on a GPU: ``"float32"``,
            ``"tf32"`` (inputs of products with 10 bits after the leading one) or ``"bfloat16"``
            (7 bits, and half of the memory that is moved). On a CPU it changes nothing.
        prediction_batch: windows drawn at a time when predicting, at most.
        memory_budget: GiB that pasts and paths may take when predicting, beside the data and the
            network: fewer windows at a time are drawn where they would take more.
    """

    context_length: int | None = None
    prior: bool = True
    lookback: int | None = None
    seasonal_values: int = 8
    prior_members: int = 2
    prior_width: int = 256
    prior_dropout: float = 0.2
    prior_loss: str = "crps"
    prior_reach: float | None = 5.0
    prior_balance: float = 0.0
    prior_epochs: int = 40
    factors: int = 100
    prior_rows: int = 1024
    prior_lr: float = 5e-3
    prior_passes: float | None = 120.0
    lags: Sequence[int] | str | None = None
    scaling: str = "standard"
    scale_window: str = "series"
    embedding_dim: int = 8
    cell: str = "gru"
    hidden_size: int = 64
    num_layers: int = 1
    dropout: float = 0.1
    cond_dim: int | None = None
    denoiser: Plugin = "mlp"
    denoiser_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    marginal_components: int | None = None
    diff_steps: int = 100
    schedule: Plugin = "cosine"
    beta_start: float = 1e-4
    beta_end: float = 0.1
    zero_terminal: bool = False
    parameterization: Plugin = "v"
    loss: str = "l2"
    weighting: Plugin = "simple"
    min_snr: float | None = None
    variance_weight: float | None = None
    loss_window: str = "all"
    sampler: Plugin = "adams"
    steps: int | None = 5
    sampler_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    start: str = "context"
    bound_samples: bool = True
    batch_size: int = 64
    num_batches_per_epoch: int = 50
    passes: float | None = 40.0
    max_epochs: int = 10
    diffusion_runs: int = 3
    spread: bool = True
    lr: float = 5e-3
    max_lr: float | None = None
    weight_decay: float = 1e-6
    gradient_clip: float | None = 1.0
    ema_decay: float | None = 0.99
    validation_windows: int = 14
    refit: float | None = 0.05
    patience: int = 10
    matmul_precision: str = "tf32"
    prediction_batch: int = 32
    memory_budget: float = 4.0

    def __post_init__(self) -> None:
        if self.lags is not None and not isinstance(self.lags, str):
            object.__setattr__(self, "lags", tuple(sorted(set(map(int, self.lags)))))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check_kind(field.name, field.type, value)
            if isinstance(value, np.generic):  # a number that is not numpy's can be saved
                object.__setattr__(self, field.name, value.item())
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if isinstance(value, str) and value not in known:
                raise unknown_name(name, value, list(known))
        for name, low, high in RANGES:
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and value != "published" and not low <= value <= high:
                    raise OptionError(f"{name} is {value}, must be from {low} to {high}")
        if self.min_snr is not None and self.weighting != "min_snr":
            if self.weighting != "simple":
                raise OptionError(f"min_snr is of weighting='min_snr', not of {self.weighting!r}")
            object.__setattr__(self, "weighting", "min_snr")

    @classmethod
    def from_preset(cls, preset: str, **options: Any) -> "Options":
        """The options of a preset with some of them changed.

        Raises:
            OptionError: an unknown preset or option, or a value out of range.
        """
        if preset not in PRESETS:
            raise unknown_name("preset", preset, list(PRESETS))
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_name("option", name, known)
        return cls(**{**PRESETS[preset], **options})


KINDS: dict[Any, Any] = {
    bool: bool,
    int: numbers.Integral,
    float: numbers.Real,
    str: str,
    dict: Mapping,
    type(None): type(None),
}


def check_kind(name: str, annotation: Any, value: Any) -> None:
    """Raise unless the value is of the kind of its option.

    Raises:
        OptionError: text where a number is expected, and so on.
    """
    kinds = [typing.get_origin(kind) or kind for kind in typing.get_args(annotation)]
    if typing.get_origin(annotation) is dict or not kinds:
        kinds = [typing.get_origin(annotation) or annotation]
    if not all(kind in KINDS for kind in kinds):
        return  # a plug-in, or lags
    truth = isinstance(value, bool)  # which Python counts among the numbers
    if not any(isinstance(value, KINDS[k]) and truth == (k is bool) for k in kinds):
        names = ["nothing" if kind is type(None) else kind.__name__ for kind in kinds]
        raise OptionError(f"{name} is {value!r}, expected {' or '.join(names)}")


CHOICES: dict[str, Iterable[str]] = {
    "lags": ("published",),
    "scaling": SCALERS,
    "scale_window": ("series", "context"),
    "cell": CELLS,
    "prior_loss": ("crps", "nll"),
    "denoiser": DENOISERS,
    "schedule": SCHEDULES,
    "parameterization": PARAMETERIZATIONS,
    "loss": LOSSES,
    "weighting": WEIGHTINGS,
    "loss_window": ("all", "horizon"),
    "sampler": SAMPLERS,
    "start": ("standard", "context"),
    "matmul_precision": PRECISIONS,
}

_MANY = 10**9
RANGES = [
    ("context_length", 1, _MANY),
    ("lags", 1, _MANY),
    ("lookback", 2, _MANY),
    ("seasonal_values", 0, _MANY),
    ("prior_members", 1, _MANY),
    ("prior_width", 1, _MANY),
    ("prior_dropout", 0.0, 0.99),
    ("prior_reach", 1e-6, float("inf")),
    ("prior_balance", 0.0, 1.0),
    ("prior_epochs", 0, _MANY),
    ("factors", 0, _MANY),
    ("prior_rows", 1, _MANY),
    ("prior_lr", 1e-12, 1.0),
    ("prior_passes", 0.0, float("inf")),
    ("embedding_dim", 0, _MANY),
    ("hidden_size", 1, _MANY),
    ("num_layers", 1, _MANY),
    ("dropout", 0.0, 0.99),
    ("cond_dim", 1, _MANY),
    ("marginal_components", 1, _MANY),
    ("diff_steps", 1, _MANY),
    ("min_snr", 1e-6, float("inf")),
    ("variance_weight", 1e-12, float("inf")),
    ("steps", 1, _MANY),
    ("batch_size", 1, _MANY),
    ("num_batches_per_epoch", 1, _MANY),
    ("passes", 0.0, float("inf")),
    ("max_epochs", 1, _MANY),
    ("diffusion_runs", 1, _MANY),
    ("lr", 1e-12, 1.0),
    ("max_lr", 1e-12, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("gradient_clip", 1e-12, float("inf")),
    ("ema_decay", 0.0, 1.0),
    ("validation_windows", 0, _MANY),
    ("refit", 0.0, 1.0),
    ("patience", 1, _MANY),
    ("prediction_batch", 1, _MANY),
    ("memory_budget", 1e-9, float("inf")),
]

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # less training, for a first look; more of everything, where time does not matter
    "fast": {
        "prior_members": 1,
        "prior_width": 128,
        "prior_epochs": 20,
        "prior_passes": 40.0,
        "max_epochs": 5,
        "passes": 20.0,
        "diffusion_runs": 1,
        "steps": 3,
    },
    "best": {
        "prior_members": 5,
        "prior_epochs": 60,
        "prior_passes": 180.0,
        "max_epochs": 15,
        "passes": 60.0,
        "diffusion_runs": 6,
        "steps": 10,
    },
    # TimeGrad exactly as published (Rasul et al. 2021, and the authors' notebook)
    "paper": {
        "lags": "published",
        "prior": False,
        "scaling": "mean",
        "scale_window": "context",
        "embedding_dim": 1,
        "cell": "lstm",
        "hidden_size": 40,
        "num_layers": 2,
        "dropout": 0.1,
        "cond_dim": 100,
        "denoiser": "wavenet",
        "diff_steps": 100,
        "schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.1,
        "parameterization": "epsilon",
        "loss": "l2",
        "sampler": "ddpm",
        "steps": None,
        "start": "standard",
        "bound_samples": False,
        "batch_size": 64,
        "num_batches_per_epoch": 100,
        "passes": None,
        "max_epochs": 20,
        "diffusion_runs": 1,
        "lr": 1e-3,
        "max_lr": 1e-2,
        "weight_decay": 1e-6,
        "gradient_clip": None,
        "ema_decay": None,
        "validation_windows": 0,
    },
}
