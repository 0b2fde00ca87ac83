"""What lies in the cache, and whether it is what was written there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data import store
from data.errors import reason


@dataclass(frozen=True)
class Holding:
    """A dataset in the cache, from one source."""

    place: Path
    """Its folder, ``cache/NAME/SOURCE``."""
    manifest: dict
    """Empty where it can't be read."""
    fault: str = ""
    """Why it can't."""

    @property
    def name(self) -> str:
        """The dataset's."""
        return self.manifest.get("name", self.place.parent.name)

    @property
    def source(self) -> str:
        """official, local or embedded."""
        return self.place.name

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        files = (self.place / str(self.manifest.get("version"))).glob("*.npy")
        return sum(file.stat().st_size for file in files)

    def is_intact(self) -> bool:
        """Whether its arrays are those that were written; all of them are read."""
        return not self.fault and store.intact(self.place, self.manifest)

    @property
    def remedy(self) -> str:
        """The command that brings it into the cache again."""
        kind = self.name.partition("-")[0]
        if self.source == "local" and self.manifest.get("origin"):
            command = f"make ingest-{kind if kind in ('csv', 'folder') else self.name} FROM={self.manifest['origin']}"
        else:
            command = f"make ingest-{self.name}"
        return f"remove {self.place} and run {command}" if self.fault else f"run {command} again"


def holdings() -> Iterator[Holding]:
    """All of the cache, by name."""
    for path in sorted(store.root().glob("*/*/manifest.json")):
        try:
            yield Holding(path.parent, store.parse_manifest(path))
        except (OSError, ValueError) as error:
            yield Holding(path.parent, {}, reason(error))
