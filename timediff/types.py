"""Array shapes and their names, in one place.

Axis names used in every signature of the package:

=====  ==========================================================================
``b``  windows of a batch; ``*b`` any number of leading axes
``s``  sample paths of a window
``t``  time steps: context, then horizon
``p``  steps of the horizon (``prediction_length``)
``d``  series (``target_dim``)
``l``  lags
``f``  calendar features, and those known ahead
``k``  features known ahead
``g``  features known of the past only
``h``  width of the condition (the state of the RNN)
=====  ==========================================================================

The annotations are ``jaxtyping``'s. They are executed only under pytest (see ``addopts`` in
``pyproject.toml``), where a tensor of another shape fails the test; in use they cost nothing.
"""

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor"]

Number = int | float  # what a caller may write for a number
