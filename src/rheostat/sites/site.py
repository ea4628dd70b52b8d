"""A `Site` is a named place where an activation lives; `resolve` finds the sites that a name or a pattern means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

import pandas as pd

from rheostat.base.errors import SiteNotFound, SiteNotOffered
from rheostat.base.names import did_you_mean
from rheostat.models.anatomy import AXES, BLOCK_KINDS, MODEL_KINDS, Anatomy, Tap
from rheostat.models.network import Network

_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "hook_in": "resid_pre",
    "hook_out": "resid_post",
    "attn.hook_z": "heads",
    "attn.hook_pattern": "pattern",
    "mlp.hook_post": "neurons",
}
"""TransformerLens's names for what we have. No aliases: its `hook_mlp_in` is before the norm, its `hook_embed` lacks
the positions, and its `attn.hook_out` and `mlp.hook_out` are before Gemma's post-norm."""

_BLOCK_SITE = re.compile(r"blocks\.(?P<blocks>\*|-?\d+(?:-\d+)?)\.(?P<kind>.+)")


@dataclass(frozen=True, order=True)
class Site:
    """One named place where an activation lives, such as `blocks.14.attn_out`, `final` or the module path `layers.2`.

    `block` counts from 0; "layer 5" means the output of block 5, its `resid_post`.
    """

    kind: str
    """A kind of site, or `module` for a module path."""
    block: int | None = None
    path: str = ""
    """For kind `module`: the path, with `:in` for the module's input."""

    def __str__(self) -> str:
        if self.kind == "module":
            return self.path
        return self.kind if self.block is None else f"blocks.{self.block}.{self.kind}"


SiteLike = str | Site | tuple[str, int]
"""A name, a pattern, a Site, or a kind with its block: `("resid_post", 5)`."""


def resolve(network: Network, asked: SiteLike | Sequence[SiteLike]) -> tuple[Site, ...]:
    """Return the sites that names and patterns mean, in the order asked, each once.

    Patterns: `blocks.*.mlp_out`, `blocks.10-17.resid_post` (both ends included), `blocks.-1.resid_post`.
    TransformerLens names are aliases.

    Raises:
        SiteNotFound: nothing has this name; the message names the closest.
        SiteNotOffered: other families have it, this one has not.
    """
    return tuple(dict.fromkeys(site for one in _listed(asked) for site in _resolve_one(network, one)))


def resolve_single(network: Network, asked: SiteLike) -> Site:
    """Return the one site that a name means.

    Raises:
        SiteNotFound: it is a pattern that matches several.
    """
    sites = resolve(network, asked)
    if len(sites) != 1:
        raise SiteNotFound(f"{asked!r} matches {len(sites)} sites; one is needed here.")
    return sites[0]


def all_sites(network: Network) -> tuple[Site, ...]:
    """Return every named site of a network, in the order of computation; the module paths of a plain module."""
    body = network.anatomy
    if body is None:
        return tuple(Site("module", path=path) for path, _ in network.module.named_modules() if path)
    inside = (Site(kind, block) for block in range(body.n_blocks) for kind in body.kinds)
    return (Site("embed"), *inside, Site("final"), Site("logits"))


def site_table(network: Network, *, every: bool = False) -> pd.DataFrame:
    """Return columns site, axes, shape (of one token), note: one row per kind, or with `every` one per site.

    Kinds that other families have and this one lacks are listed with the reason.
    """
    body = network.anatomy
    if body is None:
        parts = network.module.named_modules()
        return pd.DataFrame([{"site": path, "module": type(part).__name__} for path, part in parts if path])
    if every:
        return pd.DataFrame([_site_row(body, str(site), site.kind) for site in all_sites(network)])
    last = body.n_blocks - 1
    rows = [_site_row(body, "embed", "embed")]
    for kind in BLOCK_KINDS:
        if kind in body.taps:
            rows.append(_site_row(body, f"blocks.0-{last}.{kind}", kind))
        else:
            why = body.refusals.get(kind, "this family has no such tensor")
            rows.append({"site": f"blocks.*.{kind}", "axes": "", "shape": "", "note": f"not offered: {why}"})
    return pd.DataFrame([*rows, _site_row(body, "final", "final"), _site_row(body, "logits", "logits")])


def _site_row(body: Anatomy, name: str, kind: str) -> dict[str, str]:
    sizes = "head × query_pos × key_pos" if kind == "pattern" else " × ".join(map(str, body.shape(kind)))
    note = "read with attention='eager'; edited by CutAttention alone" if kind == "pattern" else ""
    return {"site": name, "axes": " ".join(AXES[kind]), "shape": sizes, "note": note}


def axes(site: Site) -> tuple[str, ...]:
    """Return the names of an activation's axes; for module paths only the first is known."""
    return AXES.get(site.kind, ("batch", "..."))


def tap(network: Network, site: Site) -> Tap:
    """Return where a resolved site is read and edited."""
    if site.kind == "module":
        path, _, side = site.path.partition(":")
        return Tap(path, "in" if side else "out")
    found = network.body.tap(site.kind, site.block)
    if found is None:
        raise SiteNotOffered(f"{network.name} has no {site}.")
    return found


def _listed(asked: SiteLike | Sequence[SiteLike]) -> list[SiteLike]:
    """Return one name, or several, as a list."""
    if isinstance(asked, str | Site) or (isinstance(asked, tuple) and _is_pair(asked)):
        return [cast(SiteLike, asked)]
    return list(cast(Sequence[SiteLike], asked))


def _is_pair(asked: tuple[object, ...]) -> bool:
    return len(asked) == 2 and isinstance(asked[0], str) and isinstance(asked[1], int)


def _resolve_one(network: Network, asked: SiteLike) -> tuple[Site, ...]:
    if isinstance(asked, Site):
        asked = str(asked)
    if isinstance(asked, tuple):
        asked = f"blocks.{asked[1]}.{asked[0]}"
    if network.anatomy is not None and (match := _BLOCK_SITE.fullmatch(asked)):
        kind = _TRANSFORMER_LENS.get(match["kind"], match["kind"])
        if kind in BLOCK_KINDS:
            return tuple(Site(kind, block) for block in _blocks(network, match["blocks"], asked, kind))
    if network.anatomy is not None and asked in MODEL_KINDS:
        return (Site(asked),)
    return _module_sites(network, asked)


def _blocks(network: Network, text: str, asked: str, kind: str) -> range:
    body = network.body
    if kind not in body.taps:
        why = body.refusals.get(kind, f"family {body.family} has no such tensor")
        raise SiteNotOffered(f"{network.name} offers no {asked}: {why}. It offers: {', '.join(body.kinds)}.")
    if text == "*":
        return range(body.n_blocks)
    first_text, dash, last_text = text.removeprefix("-").partition("-")
    first = -int(first_text) if text.startswith("-") else int(first_text)
    first = first + body.n_blocks if first < 0 else first
    last = int(last_text) if dash else first
    if not 0 <= first <= last < body.n_blocks:
        raise SiteNotFound(f"no site {asked!r} in {network.name}: it has blocks 0 to {body.n_blocks - 1}.")
    return range(first, last + 1)


def _module_sites(network: Network, asked: str) -> tuple[Site, ...]:
    path, _, side = asked.partition(":")
    modules = _module_paths(network)
    if side in ("", "in"):
        if path in modules:
            return (Site("module", path=asked),)
        suffix = f":{side}" if side else ""
        matches = tuple(Site("module", path=name + suffix) for name in modules if fnmatchcase(name, path))
        if "*" in path and matches:
            return matches
    names = [str(site) for site in all_sites(network)]
    raise SiteNotFound(
        f"no site {asked!r} in {network.name}.{did_you_mean(asked, names)} All: rheostat sites {network.name}"
    )


def _module_paths(network: Network) -> tuple[str, ...]:
    return tuple(path for path, _ in network.module.named_modules() if path)
