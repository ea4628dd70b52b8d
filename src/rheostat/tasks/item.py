"""`Task`: prompts with answers, whose loss and accuracy are measured under damage."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.base.errors import BadArgument
from rheostat.metrics.loss import FirstMatch, GreedyMatch, Loss, PerPrompt
from rheostat.models.network import Network
from rheostat.store.key import digest


@dataclass(frozen=True)
class Item:
    """A prompt and the answer that should follow it."""

    prompt: str
    """Ends where the answer begins, without the space before it."""
    answer: str
    """With its leading space, where one belongs there; one or several tokens."""
    group: str = ""
    """What it was drawn with (an article, a relation): intervals resample groups. Empty: the item stands alone."""


@dataclass(frozen=True)
class Task:
    """Items that ask for one ability, or one topic."""

    name: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise BadArgument(f"the task {self.name!r} holds no item.")

    def __len__(self) -> int:
        return len(self.items)

    def describe(self) -> dict[str, object]:
        """Return what a record says of a task: enough to recognise it, nothing of its content."""
        items = [[item.prompt, item.answer, item.group] for item in self.items]
        return {"name": self.name, "n_items": len(self), "sha256": digest(items)}


@dataclass(frozen=True)
class Questions:
    """Items in the tokens of one network: what a sweep runs, and what it measures there."""

    rows: tuple[tuple[int, ...], ...]
    """Per item, the tokens of prompt and answer, special tokens included."""
    n_answer_tokens: tuple[int, ...]

    @property
    def loss(self) -> Loss:
        """Mean negative log-probability of each answer's tokens, in nats."""
        return Loss(self._answers)

    @property
    def right(self) -> GreedyMatch:
        """Whether greedy decoding would have written each answer, all of its tokens."""
        return GreedyMatch(self._answers)

    @property
    def begun(self) -> FirstMatch:
        """Whether greedy decoding would have written the first token of each answer."""
        return FirstMatch(self._answers)

    @property
    def _answers(self) -> PerPrompt:
        return PerPrompt([slice(-n, None) for n in self.n_answer_tokens])


def ask(network: Network, items: Sequence[Item]) -> Questions:
    """Spell items in a network's tokens; the answer's are spelled apart, so that they never merge with the prompt's.

    Raises:
        NeedsTokenizer: the network has no tokenizer.
        EmptyPrompt, BadArgument: a prompt or an answer holds no token.
    """
    rows, counts = [], []
    for item in items:
        answer = network.tokens.spell(item.answer)
        if not answer:
            raise BadArgument(f"the answer {item.answer!r} of {item.prompt!r} holds no token.")
        rows.append((*network.row(item.prompt).ids, *answer))
        counts.append(len(answer))
    return Questions(tuple(rows), tuple(counts))
