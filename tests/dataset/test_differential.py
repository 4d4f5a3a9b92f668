"""Random pipelines in tensorferry and in the real tf.data: elements, specifications and errors are
the same.
"""

from __future__ import annotations

import os

from hypothesis import given, settings

from tests.support.pipeline_sources import Chain
from tests.support.pipelines import chains
from tests.support.side_by_side import assert_agree


@settings(max_examples=int(os.environ.get("PIPELINES", "300")))
@given(chains())
def test_random_pipelines_agree_with_tf_data(pipeline: Chain) -> None:
    assert_agree(pipeline)
