"""`rheostat cluster`: find the units that belong to a topic, and save them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rheostat.base.errors import BadArgument, TooLittleText
from rheostat.base.names import did_you_mean
from rheostat.cli import options

if TYPE_CHECKING:
    from rheostat.model import Model
    from rheostat.neurons.cluster import Cluster
    from rheostat.tasks.item import Task

EXAMPLE = (
    "Example: rheostat cluster smollm2-135m-instruct --topic sports --prompts 8 --out sports.json --html sports.html"
)


def command(
    model: Annotated[str, typer.Argument(help="Built-in name, hub name, folder or .gguf file.")],
    topic: Annotated[str, typer.Option(help="Of BBC News: business, entertainment, politics, sports, tech; or yours.")],
    method: Annotated[
        Literal[
            "attribution",
            "attribution_difference",
            "activation_difference",
            "indirect_effect",
            "predictivity",
            "random",
        ],
        typer.Option(help="How units are ranked; random is the control. indirect_effect takes minutes."),
    ] = "attribution",
    kind: Annotated[str, typer.Option(help="Kind of site: neurons, mlp_in, mlp_out, …")] = "neurons",
    share: Annotated[float, typer.Option(help="Share of each block's units, above 0, at most 1.")] = 0.02,
    texts: Annotated[
        Path | None,
        typer.Option(
            help='Your texts: a folder with one subfolder of .txt files per topic, or JSONL {"topic": …, "text": …}. '
            "Default: BBC News."
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(help="Keyword prompts of each topic.", min=1)] = 24,
    against: Annotated[
        list[Path] | None, typer.Option(help="A saved cluster: how many units are shared with it. Repeatable.")
    ] = None,
    seed: options.SeedOption = 0,
    out: Annotated[Path | None, typer.Option(help="Write the cluster here (.json).")] = None,
    json: options.JsonOption = False,
    png: Annotated[Path | None, typer.Option(help="Write the picture here (.png).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    overwrite: options.OverwriteOption = False,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = "cpu",
    attention: options.AttentionOption = None,
) -> None:
    """Find the units of every block that belong to a topic.

    Units are ranked by what they do where the topic's keywords are predicted, on prompts that the model has a fair
    chance on. Test a cluster on other texts than these.
    """
    given = options.arguments(locals())
    options.check_output("--out", out, ".json", overwrite=overwrite)
    options.check_output("--png", png, ".png", overwrite=overwrite)
    options.check_output("--html", html, ".html", ".htm", overwrite=overwrite)
    from rheostat.neurons.cluster import Cluster, n_of_share

    n_of_share(share, 1)  # refuses a share out of range before anything is loaded
    saved = [Cluster.load(path) for path in against or ()]
    from rheostat.model import load

    loaded = load(model, dtype=dtype, device=device, attention=attention)
    for other in saved:
        other.check(loaded)
    from rheostat.impairment.rank_units import rank_units
    from rheostat.neurons.picture import cluster_grid, cluster_table

    tasks = _tasks(loaded, texts, topic, prompts, seed)
    ranking = rank_units(loaded, tasks, topic, method=method, kind=kind, seed=seed)
    cluster, table = ranking.top(share), cluster_table(ranking, share)
    shared = _shared(cluster, saved)
    if json:
        n_prompts = {task.name: len(task) for task in tasks}
        fields = {"model": cluster.model, "topic": cluster.topic, "method": cluster.method, "kind": cluster.kind}
        options.print_json({**fields, "prompts": n_prompts, "overlap": shared, "units": table.to_dict("records")})
    else:
        _show(cluster, shared, {task.name: len(task) for task in tasks})
    if out is not None:
        cluster.save(out, overwrite=overwrite)
        options.note(f"wrote {out}")
    if png is not None or html is not None:
        grid, made = cluster_grid(ranking, share), options.facts(given, loaded)
        options.write_pictures(grid, table, png=png, html=html, overwrite=overwrite, facts=made)


def _tasks(model: "Model", texts: Path | None, topic: str, n_per_topic: int, seed: int) -> "tuple[Task, ...]":
    from rheostat.data.articles import bbc_articles, read_articles
    from rheostat.data.keyword_prompts import keyword_prompts
    from rheostat.impairment.fair_chance import fair_chance

    articles = bbc_articles() if texts is None else read_articles(texts)
    topics = sorted({article.topic for article in articles})
    if topic not in topics:
        where = "BBC News" if texts is None else str(texts)
        raise BadArgument(f"{where} has no topic {topic!r}.{did_you_mean(topic, topics)} One of: {', '.join(topics)}.")
    tasks = fair_chance(model, keyword_prompts(articles, seed=seed), n_per_topic=n_per_topic).tasks
    if topic not in {task.name for task in tasks}:
        raise TooLittleText(f"{model.name} has a fair chance on no prompt of {topic}. Give it more text of the topic.")
    return tasks


def _shared(cluster: "Cluster", saved: "list[Cluster]") -> list[dict[str, object]]:
    from rheostat.neurons.overlap import jaccard

    return [{"cluster": other.label, "n_units": other.n_units, "jaccard": jaccard(cluster, other)} for other in saved]


def _show(cluster: "Cluster", shared: list[dict[str, object]], n_prompts: dict[str, int]) -> None:
    import pandas as pd

    from rheostat.report.terminal import frame_table

    console = options.console()
    rows = [
        {"block": block, "n": len(units), "units": " ".join(map(str, units))} for block, units in cluster.units.items()
    ]
    asked = f" on {sum(n_prompts.values())} prompts" if n_prompts else ""
    console.print(frame_table(pd.DataFrame(rows), f"{cluster.label}: {cluster.n_units} units of {cluster.kind}{asked}"))
    for one in shared:
        console.print(f"shared with {one['cluster']}: Jaccard index {one['jaccard']:.3f}")
