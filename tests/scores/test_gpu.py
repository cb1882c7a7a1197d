"""The scores on an accelerator; run with ``-m gpu`` where there is one."""

import pytest
import torch

from tests.scores.test_scores import ALL, panel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ALL)
def test_a_score_on_the_gpu_is_that_on_the_cpu(name):
    x, y = panel(d=5)
    y[1, 2, 3] = torch.nan
    found = ALL[name](x.cuda(), y.cuda())
    assert found.is_cuda
    if "rank" in name or "depth" in name:  # ties are broken by the device's own numbers
        assert found.sum() == ALL[name](x, y).sum()
    else:
        torch.testing.assert_close(found.cpu(), ALL[name](x, y), equal_nan=True)
