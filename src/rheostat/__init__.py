"""rheostat: read what a network is thinking, turn any part of it up or down, and measure what changed.

The public names load on first use, so that `import rheostat` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rheostat.base.errors import RheostatError
    from rheostat.capture.activations import Activations
    from rheostat.data.articles import read_articles
    from rheostat.data.keyword_prompts import keyword_prompts
    from rheostat.directions.activation_addition import PromptVector, prompt_vectors
    from rheostat.directions.clusters import find_clusters
    from rheostat.directions.correlation import correlate
    from rheostat.directions.detection import separate
    from rheostat.directions.direction import Direction
    from rheostat.directions.directions import Directions
    from rheostat.directions.erasure import fit_erasures
    from rheostat.directions.fit import fit_directions, fit_directions_from_texts
    from rheostat.directions.pairs import ContrastPair, read_pairs
    from rheostat.directions.scores import read_concept
    from rheostat.directions.task_vector import task_vectors
    from rheostat.edit.arithmetic import Add, Scale, Zero
    from rheostat.edit.edit import Edit
    from rheostat.edit.erasure import Erase
    from rheostat.edit.impairment import Impair
    from rheostat.edit.knockout import CutAttention
    from rheostat.edit.patching import Mix, Replace
    from rheostat.edit.plan import Plan
    from rheostat.edit.projection import Piecewise, Project
    from rheostat.edit.source import FromPrompt
    from rheostat.engine.cells import Cell, patching_cells
    from rheostat.impairment.comparison import compare_models
    from rheostat.impairment.curve import impairment_curves
    from rheostat.impairment.dial import Dial
    from rheostat.impairment.fair_chance import fair_chance
    from rheostat.impairment.rank_units import rank_units
    from rheostat.impairment.scale import measure_scale
    from rheostat.impairment.summary import summarise_curves
    from rheostat.lenses.logit import LogitLens
    from rheostat.metrics.divergence import KLToClean
    from rheostat.metrics.loss import Loss
    from rheostat.metrics.measure import measure
    from rheostat.metrics.tokens import LogitDifference, Probability, Rank
    from rheostat.model import Model, load
    from rheostat.models.anatomy import Anatomy, block_taps
    from rheostat.neurons.cluster import Cluster
    from rheostat.neurons.ranking import Ranking, random_ranking
    from rheostat.neurons.shapley.enumeration import exact_shapley
    from rheostat.neurons.shapley.game import FunctionGame
    from rheostat.neurons.shapley.neuron_game import NeuronGame, neuron_players
    from rheostat.neurons.shapley.sampling import bandit_shapley, sampled_shapley
    from rheostat.report.folder import write_record
    from rheostat.sites.positions import Positions
    from rheostat.sites.site import Site
    from rheostat.steering.budget import strength_for
    from rheostat.steering.monitor import monitor
    from rheostat.steering.oversight import compare_oversight
    from rheostat.steering.plan import steering_plan
    from rheostat.steering.steer import steer
    from rheostat.steering.threshold import threshold_for
    from rheostat.studies.run import run_study
    from rheostat.sweeps.grids import adding_cells, combined_cells, scaling_cells
    from rheostat.sweeps.summary import summarise
    from rheostat.sweeps.targets import targets, windows
    from rheostat.tasks.answers import ask_items
    from rheostat.tasks.format import PromptFormat, few_shot
    from rheostat.tasks.item import Item, Task
    from rheostat.tasks.library import pair_task, pair_tasks
    from rheostat.tasks.pairs import Pair, PairTask
    from rheostat.tasks.read import read_pair_task
    from rheostat.tracing.activation_patching import patch_activations
    from rheostat.tracing.attention_knockout import attention_knockout, token_roles
    from rheostat.tracing.attributes_rate import attributes_rate
    from rheostat.tracing.attribution_patching import attribute_patching
    from rheostat.tracing.causal_tracing import causal_trace
    from rheostat.tracing.extraction import extracted_tokens

__version__ = "0.1.0"

_HOMES = {
    "Activations": "rheostat.capture.activations",
    "Add": "rheostat.edit.arithmetic",
    "Anatomy": "rheostat.models.anatomy",
    "Cell": "rheostat.engine.cells",
    "Cluster": "rheostat.neurons.cluster",
    "ContrastPair": "rheostat.directions.pairs",
    "CutAttention": "rheostat.edit.knockout",
    "Direction": "rheostat.directions.direction",
    "Directions": "rheostat.directions.directions",
    "Edit": "rheostat.edit.edit",
    "Erase": "rheostat.edit.erasure",
    "FromPrompt": "rheostat.edit.source",
    "FunctionGame": "rheostat.neurons.shapley.game",
    "Impair": "rheostat.edit.impairment",
    "KLToClean": "rheostat.metrics.divergence",
    "LogitDifference": "rheostat.metrics.tokens",
    "LogitLens": "rheostat.lenses.logit",
    "Loss": "rheostat.metrics.loss",
    "Mix": "rheostat.edit.patching",
    "Model": "rheostat.model",
    "NeuronGame": "rheostat.neurons.shapley.neuron_game",
    "Piecewise": "rheostat.edit.projection",
    "Plan": "rheostat.edit.plan",
    "Positions": "rheostat.sites.positions",
    "Probability": "rheostat.metrics.tokens",
    "Project": "rheostat.edit.projection",
    "PromptVector": "rheostat.directions.activation_addition",
    "Ranking": "rheostat.neurons.ranking",
    "random_ranking": "rheostat.neurons.ranking",
    "rank_units": "rheostat.impairment.rank_units",
    "Rank": "rheostat.metrics.tokens",
    "Replace": "rheostat.edit.patching",
    "RheostatError": "rheostat.base.errors",
    "Scale": "rheostat.edit.arithmetic",
    "Site": "rheostat.sites.site",
    "Zero": "rheostat.edit.arithmetic",
    "adding_cells": "rheostat.sweeps.grids",
    "attention_knockout": "rheostat.tracing.attention_knockout",
    "attribute_patching": "rheostat.tracing.attribution_patching",
    "attributes_rate": "rheostat.tracing.attributes_rate",
    "bandit_shapley": "rheostat.neurons.shapley.sampling",
    "block_taps": "rheostat.models.anatomy",
    "causal_trace": "rheostat.tracing.causal_tracing",
    "combined_cells": "rheostat.sweeps.grids",
    "compare_oversight": "rheostat.steering.oversight",
    "correlate": "rheostat.directions.correlation",
    "exact_shapley": "rheostat.neurons.shapley.enumeration",
    "extracted_tokens": "rheostat.tracing.extraction",
    "fair_chance": "rheostat.impairment.fair_chance",
    "find_clusters": "rheostat.directions.clusters",
    "fit_directions": "rheostat.directions.fit",
    "fit_directions_from_texts": "rheostat.directions.fit",
    "fit_erasures": "rheostat.directions.erasure",
    "keyword_prompts": "rheostat.data.keyword_prompts",
    "load": "rheostat.model",
    "measure": "rheostat.metrics.measure",
    "monitor": "rheostat.steering.monitor",
    "neuron_players": "rheostat.neurons.shapley.neuron_game",
    "patch_activations": "rheostat.tracing.activation_patching",
    "patching_cells": "rheostat.engine.cells",
    "prompt_vectors": "rheostat.directions.activation_addition",
    "read_articles": "rheostat.data.articles",
    "read_concept": "rheostat.directions.scores",
    "read_pairs": "rheostat.directions.pairs",
    "run_study": "rheostat.studies.run",
    "sampled_shapley": "rheostat.neurons.shapley.sampling",
    "scaling_cells": "rheostat.sweeps.grids",
    "separate": "rheostat.directions.detection",
    "steer": "rheostat.steering.steer",
    "steering_plan": "rheostat.steering.plan",
    "strength_for": "rheostat.steering.budget",
    "summarise": "rheostat.sweeps.summary",
    "targets": "rheostat.sweeps.targets",
    "threshold_for": "rheostat.steering.threshold",
    "token_roles": "rheostat.tracing.attention_knockout",
    "windows": "rheostat.sweeps.targets",
    "write_record": "rheostat.report.folder",
    "Dial": "rheostat.impairment.dial",
    "Item": "rheostat.tasks.item",
    "Task": "rheostat.tasks.item",
    "compare_models": "rheostat.impairment.comparison",
    "impairment_curves": "rheostat.impairment.curve",
    "measure_scale": "rheostat.impairment.scale",
    "summarise_curves": "rheostat.impairment.summary",
    "PairTask": "rheostat.tasks.pairs",
    "Pair": "rheostat.tasks.pairs",
    "PromptFormat": "rheostat.tasks.format",
    "few_shot": "rheostat.tasks.format",
    "ask_items": "rheostat.tasks.answers",
    "pair_task": "rheostat.tasks.library",
    "pair_tasks": "rheostat.tasks.library",
    "read_pair_task": "rheostat.tasks.read",
    "task_vectors": "rheostat.directions.task_vector",
}

__all__ = [
    "Activations",
    "Add",
    "Anatomy",
    "Cell",
    "Cluster",
    "ContrastPair",
    "CutAttention",
    "Dial",
    "Direction",
    "Directions",
    "Edit",
    "Erase",
    "FromPrompt",
    "FunctionGame",
    "Impair",
    "Item",
    "KLToClean",
    "LogitDifference",
    "LogitLens",
    "Loss",
    "Mix",
    "Model",
    "NeuronGame",
    "Pair",
    "PairTask",
    "Piecewise",
    "Plan",
    "Positions",
    "Probability",
    "Project",
    "PromptFormat",
    "PromptVector",
    "Rank",
    "Ranking",
    "Replace",
    "RheostatError",
    "Scale",
    "Site",
    "Task",
    "Zero",
    "adding_cells",
    "ask_items",
    "attention_knockout",
    "attribute_patching",
    "attributes_rate",
    "bandit_shapley",
    "block_taps",
    "causal_trace",
    "combined_cells",
    "compare_models",
    "compare_oversight",
    "correlate",
    "exact_shapley",
    "extracted_tokens",
    "fair_chance",
    "few_shot",
    "find_clusters",
    "fit_directions",
    "fit_directions_from_texts",
    "fit_erasures",
    "impairment_curves",
    "keyword_prompts",
    "load",
    "measure",
    "measure_scale",
    "monitor",
    "neuron_players",
    "pair_task",
    "pair_tasks",
    "patch_activations",
    "patching_cells",
    "prompt_vectors",
    "random_ranking",
    "rank_units",
    "read_articles",
    "read_concept",
    "read_pair_task",
    "read_pairs",
    "run_study",
    "sampled_shapley",
    "scaling_cells",
    "separate",
    "steer",
    "steering_plan",
    "strength_for",
    "summarise",
    "summarise_curves",
    "targets",
    "task_vectors",
    "threshold_for",
    "token_roles",
    "windows",
    "write_record",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rheostat' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
