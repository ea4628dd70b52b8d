from collections.abc import Iterator
from pathlib import Path

import pytest

from rheostat.tasks.item import Item, Task
from tests.evaluation.stand_in import Running, StandIn

N_ITEMS = 20


@pytest.fixture
def task() -> Task:
    """Twenty questions whose answer is their last word."""
    return Task("repeat", tuple(Item(f"say word{n}", f" word{n}") for n in range(N_ITEMS)))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    owner = tmp_path / "owner"
    owner.mkdir()
    with Running(StandIn(owner)) as served:
        yield served
