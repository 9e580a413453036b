"""What akin's encoder gives beside what else one would take, measured in one run; needs the extra `bench`."""

from typing import Literal

Device = Literal["cpu", "cuda"]
