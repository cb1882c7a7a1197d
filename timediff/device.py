"""Where to compute: the devices of torch by their names."""

import torch

from timediff.errors import OptionError


def best_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is a CUDA device if there is one, else an Apple one, else the CPU.

    Raises:
        OptionError: there is no such device here.
    """
    if device != "auto":
        try:
            place = torch.device(device)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise OptionError(
                f"device {str(device)!r} cannot be used here: {reason}; 'auto' takes what there is"
            ) from error
        return place
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
