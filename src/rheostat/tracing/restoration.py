"""What is put back into a noised run: the clean activation of one token, at one block or at a window of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.base.errors import BadArgument
from rheostat.capture.activations import Activations
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Replace
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sweeps.targets import block_window

SUBLAYERS = ("attn_out", "mlp_out")
"""Kinds that are put back in windows, and that can be severed."""
PAPER_WINDOW, PAPER_BLOCKS = 10, 48
"""GPT-2 XL, in Meng et al. 2022."""


def scaled_window(n_blocks: int) -> int:
    """Return the width that is to `n_blocks` what the paper's 10 is to 48, at least 1: 6 of 30."""
    return max(1, round(PAPER_WINDOW * n_blocks / PAPER_BLOCKS))


@dataclass(frozen=True)
class Restoration:
    """Edits that put back clean activations of one kind of site."""

    clean: Activations
    """Of the clean prompt, at every block."""
    kind: str
    window: int
    severed: str | None
    noised: Activations | None
    """What severed sublayers add in the noised runs, one row per draw."""
    n_blocks: int

    @classmethod
    def of(
        cls,
        network: Network,
        prompt: Prompt,
        noises: Sequence[Edit],
        *,
        kind: str,
        window: int | None,
        severed: str | None,
    ) -> "Restoration":
        """Read what is put back, and what severed sublayers keep under each of `noises`.

        Raises:
            BadArgument: `severed` is no sublayer, or the one that is put back.
            SiteNotFound, SiteNotOffered
        """
        if severed is not None and (severed not in SUBLAYERS or severed == kind):
            raise BadArgument(f"severed={severed!r} while {kind} is put back: one of {', '.join(SUBLAYERS)}, another.")
        clean = capture(network, [prompt], f"blocks.*.{kind}", positions="all")
        noised = None
        if severed is not None:
            rows = [prompt] * len(noises)
            noised = capture(network, rows, f"blocks.*.{severed}", positions="all", plans=list(noises))
        if window is None:
            window = scaled_window(network.n_blocks) if kind in SUBLAYERS else 1
        return cls(clean, kind, window, severed, noised, network.n_blocks)

    def edits(self, draw: int, block: int, position: int) -> list[Edit]:
        """Return the edits that put back one place, in the noised run of one draw."""
        blocks = block_window(block, self.window, self.n_blocks)
        names = [f"blocks.{one}.{self.kind}" for one in blocks]
        edits: list[Edit] = [Replace(name, self.clean[name][0, position], positions=position) for name in names]
        if self.noised is not None:
            first = block if self.kind == "resid_pre" else block + 1
            later = [f"blocks.{one}.{self.severed}" for one in range(first, self.n_blocks)]
            edits += [Replace(name, self.noised[name][draw, position], positions=position) for name in later]
        return edits
