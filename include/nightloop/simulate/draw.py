"""Random draws that are pure functions of seed, name and entity, so any row can be made alone and again."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

_UNIT = 2.0**-53


@dataclass(frozen=True)
class Draw:
    """Draws for the rows of a frame, keyed by some of its BIGINT columns."""

    seed: int
    keys: tuple[str, ...] = ("ordinal", "row")

    def by(self, *keys: str) -> "Draw":
        return Draw(self.seed, keys)

    def hash(self, name: str) -> "Column":
        from pyspark.sql import functions as F

        salt = F.lit(self.seed * 4_294_967_296 + zlib.crc32(name.encode())).cast("bigint")
        # all as BIGINT: an INT of the same value has another xxhash64
        return F.xxhash64(salt, *(F.col(key).cast("bigint") for key in self.keys))

    def uniform(self, name: str) -> "Column":
        """Draw from [0, 1) with 53 bits."""
        from pyspark.sql import functions as F

        return F.shiftrightunsigned(self.hash(name), 11) * F.lit(_UNIT)

    def normal(self, name: str) -> "Column":
        """Draw from the standard normal distribution (Box and Muller)."""
        from pyspark.sql import functions as F

        # 1 - u, since u may be 0, which has no logarithm
        radius = F.sqrt(F.lit(-2.0) * F.log(F.lit(1.0) - self.uniform(f"{name}/radius")))
        return radius * F.cos(F.lit(2 * math.pi) * self.uniform(f"{name}/angle"))

    def choice(self, name: str, weights: Mapping[str, float]) -> "Column":
        """Draw one of the values by weight."""
        from pyspark.sql import functions as F

        drawn, total, below = self.uniform(name), sum(weights.values()), 0.0
        values = list(weights)
        chosen = F.lit(values[-1])
        steps: list[tuple[float, str]] = []
        for value in values[:-1]:
            below += weights[value] / total
            steps.append((below, value))
        for limit, value in reversed(steps):
            chosen = F.when(drawn < limit, F.lit(value)).otherwise(chosen)
        return chosen

    def is_hit(self, name: str, share: "Column | float") -> "Column":
        """Draw true with the given probability."""
        return self.uniform(name) < share
