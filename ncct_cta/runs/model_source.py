"""Which trained model a user names: by a run's folder, a checkpoint or a packed model. Light: no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from .names import checkpoint_of, require_checkpoint, require_model
from .starter import packed_model_of


@dataclass(frozen=True)
class ModelSource:
    """One trained model.

    Args:
        run: a run's folder, or empty.
        checkpoint: a checkpoint, with a run's folder or alone, or empty.
        archive: a packed model, which stands alone, ``starter`` for the one in the package, or empty.
    """

    run: str = ""
    checkpoint: str = ""
    archive: str = ""

    def require(self) -> None:
        """Refuse files that aren't there, before anything that takes seconds is imported.

        Raises:
            InputError: naming the file.
        """
        if self.archive:
            require_model(packed_model_of(self.archive))
        else:
            require_checkpoint(checkpoint_of(self.run, self.checkpoint) or "")

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.archive or self.checkpoint or self.run
