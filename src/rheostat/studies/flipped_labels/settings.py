"""Settings: which labels the demonstrations carry, how many there are, and what stands before them."""

from dataclasses import dataclass, replace
from typing import Literal

from rheostat.studies.flipped_labels.streams import Deal

Words = Literal["natural", "foo/bar", "Apple/Orange"]
UNRELATED: dict[Words, tuple[str, str]] = {"foo/bar": ("foo", "bar"), "Apple/Orange": ("Apple", "Orange")}
"""The source has Foo and Bar; in lower case each is one token of both built-in models."""
KS, KS_QUICK = (1, 2, 4, 8, 16), (1, 4, 8)
"""Demonstrations per class."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the labels that are flipped; the source's own grid is not known to us."""
FILLED = 4
"""Demonstrations per class that stand after a filler as long as the others would be."""


@dataclass(frozen=True)
class Setting:
    """One way of showing demonstrations."""

    k: int
    """Per class."""
    words: Words = "natural"
    share: float = 0.0
    """Of the labels of each class that are flipped."""
    deal: Deal = "mapped"
    labelled: bool = True
    filler_to: int = 0
    """Neutral text stands first, as long as the demonstrations that this many per class would add; 0: none."""

    @property
    def name(self) -> str:
        """In letters, digits and dashes."""
        parts = [self.words.replace("/", "-").lower(), f"{self.share * 100:.0f}", f"k{self.k}"]
        extra = {"permuted": self.deal == "permuted", "unlabelled": not self.labelled, "filler": bool(self.filler_to)}
        return "-".join([*parts, *(name for name, on in extra.items() if on)])


def settings(*, quick: bool) -> list[Setting]:
    """Return every setting."""
    ks = KS_QUICK if quick else KS
    unrelated, most = Setting(ks[-1], "foo/bar"), ks[-1]
    curves = (Setting(0), Setting(0, share=1.0), unrelated, replace(unrelated, deal="permuted"))
    return [
        Setting(0),
        *(replace(one, k=k) for one in curves for k in ks),
        *(Setting(most, share=share) for share in SHARES if 0 < share < 1),
        Setting(most, "Apple/Orange"),
        Setting(most, labelled=False),
        replace(unrelated, k=FILLED, filler_to=most),
    ]
