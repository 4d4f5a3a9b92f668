"""Types that several signatures share."""

from __future__ import annotations

from typing import Literal, TypeAlias

# : What happens to a value that the target dtype cannot hold: an error, the nearest value, or its
# low bits.
Casting: TypeAlias = Literal["checked", "saturate", "wrap"]
