"""`Chain`: the parts of an `nn.Sequential`, which run one after another, so that a run may begin at any."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from rheostat.sites.site import Site


@dataclass(frozen=True)
class Chain:
    """Modules of which each reads what the one before it returned."""

    paths: tuple[str, ...]
    parts: tuple[nn.Module, ...]

    def part_of(self, site: Site) -> int:
        """Return the number of the part that a module path is, or lies in."""
        path = site.path.partition(":")[0]
        return next(i for i, own in enumerate(self.paths) if path == own or path.startswith(f"{own}."))

    def joins(self, site: Site) -> int:
        """Return the number of the part that a run with an edit at a site must begin with, changed as it enters.

        An edit of what a part returns is an edit of what enters the next one; behind the last part that is the output.
        """
        part = self.part_of(site)
        return part + (site.path == self.paths[part])

    def run(self, rows: Tensor, enter: Callable[[int, Tensor], Tensor], *, first: int = 0) -> Tensor:
        """Return what the chain makes of what enters its part `first`; `enter` may change what enters any part.

        It is called once more with the chain's output, as what enters a part behind the last.
        """
        for number in range(first, len(self.parts)):
            rows = self.parts[number](enter(number, rows))
        return enter(len(self.parts), rows)


def chain_of(module: nn.Module, sites: Collection[Site]) -> Chain | None:
    """Return the parts of a module that surely is a chain, else None.

    Only an `nn.Sequential` says so: with the forward pass of that class, no hook of the user's on it, and no module in
    two of its parts. Such a part is taken apart itself, unless it is edited as a whole.
    """
    edited = {site.path.partition(":")[0] for site in sites}
    if not _is_plain(module):
        return None
    found = list(_flat("", module, edited))
    inside = [id(one) for _, part in found for one in part.modules()]
    if not found or len(set(inside)) < len(inside):
        return None
    return Chain(tuple(path for path, _ in found), tuple(part for _, part in found))


def _flat(before: str, module: nn.Module, edited: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module._modules.items():
        path = f"{before}{name}"
        assert part is not None
        if _is_plain(part) and len(part._modules) and path not in edited:
            yield from _flat(f"{path}.", part, edited)
        else:
            yield path, part


def _is_plain(module: nn.Module) -> bool:
    own = type(module)
    same = own.forward is nn.Sequential.forward and own.__call__ is nn.Module.__call__
    return same and not module._forward_hooks and not module._forward_pre_hooks
