"""What is left of a part that an architecture does not use."""

from __future__ import annotations

from typing import Any

from torch import nn


class Nothing(nn.Module):
    """Stands where a module was whose output nobody reads; gives None."""

    def forward(self, *_: Any, **__: Any) -> None:
        return None
