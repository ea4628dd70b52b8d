"""A question as data: what a worker needs to compute pieces of a sweep. JSON; nothing in it is executed."""

import json
from dataclasses import asdict
from typing import Any

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import Plan, as_plan
from rheostat.edit.registry import EDITS
from rheostat.engine.cells import Cell
from rheostat.metrics.registry import metric_from_dict, metric_to_dict
from rheostat.models.anatomy import Anatomy
from rheostat.models.identity import hash_weights, structure
from rheostat.models.load import open_network
from rheostat.models.network import Network
from rheostat.store.key import digest, versions_that_matter
from rheostat.sweeps.keys import tokens_read
from rheostat.sweeps.question import Question


def question_to_bytes(question: Question) -> bytes:
    """Write a question as data.

    Raises:
        BadArgument: its model was handed over as a module, or a metric or edit is code of the user's own.
    """
    for cell in question.cells:
        for edit in cell.plan:
            if EDITS.get(edit.name) is not type(edit):
                raise BadArgument(f"the edit {type(edit).__name__} is code of your own, which cannot be sent as data.")
    content = {
        "model": _model(question.network),
        "prompts": [one if isinstance(one, str) else [int(token) for token in one] for one in question.prompts],
        "cells": [[as_plan(part).to_json() for part in (cell.edits, cell.base)] for cell in question.cells],
        "metrics": [metric_to_dict(metric) for metric in question.metrics],
        "max_token_rows": question.max_token_rows,
    }
    return json.dumps(content).encode()


def question_from_bytes(data: bytes) -> Question:
    """Read what `question_to_bytes` wrote, and load its model.

    Raises:
        RheostatError: as `rheostat.load` says.
    """
    content = json.loads(data)
    model = content["model"]
    network = open_network(
        model["source"],
        revision=model["revision"],
        trust_remote_code=bool(model["trust_remote_code"]),
        dtype=model["dtype"],
        device=model["device"],
        attention=model["attention"],
        anatomy=None if model["anatomy"] is None else Anatomy(**model["anatomy"]),
    )
    return Question(
        network=network,
        prompts=content["prompts"],
        cells=[Cell(Plan.from_json(edits), base=Plan.from_json(base)) for edits, base in content["cells"]],
        metrics=[metric_from_dict(one) for one in content["metrics"]],
        max_token_rows=content["max_token_rows"],
    )


def what_decides(question: Question) -> dict[str, str]:
    """Return what two processes must share for their numbers to be the same, each as a short text."""
    network = question.network
    return {
        "weights": hash_weights(network.module),
        "config": digest(structure(network.module, None)),
        "dtype": str(network.dtype),
        "device": network.device.type,
        "attention": str(network.attention),
        **versions_that_matter(),
        "tokens": digest([list(row.ids) for row in question.rows]),
        "tokens of prompts that edits read": digest([tokens_read(network, cell.plan) for cell in question.cells]),
        "metrics": digest([[each.identifier for each in bound] for bound in question.bound]),
    }


def _model(network: Network) -> dict[str, Any]:
    origin = network.provenance.origin
    if origin is None:
        raise BadArgument(
            f"{network.name} was handed over as a module, and workers load a model by themselves. Save it, "
            "and load the folder: module.save_pretrained('FOLDER'), tokenizer.save_pretrained('FOLDER'), "
            "rheostat.load('FOLDER')."
        )
    return {
        **asdict(origin),
        "dtype": str(network.dtype).removeprefix("torch."),
        "device": network.device.type,
        "attention": network.attention,
        "anatomy": None if network.anatomy is None else asdict(network.anatomy),
    }
