"""One pass of the lens over prompts with known answers: ranks of several groups of words in every cell.

Feeds three parts: whether cells decode to meaningful tokens, in which order meaning appears, and how certainty climbs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from torch import Tensor

from rheostat.data.relations import COUNTRIES, RELATIONS, Relation
from rheostat.data.translations import TRANSLATIONS
from rheostat.model import Model
from rheostat.studies.decoding.cells import all_cells, capture_cells, lens_ranks, output_log_probabilities
from rheostat.studies.part import step_params
from rheostat.studies.spread import spread
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens, single_token, word_tokens

N_ITEMS, N_ITEMS_QUICK = 60, 16
GROUPS = ("related", "answer", "category", "other category", "foreign", "other foreign", "english")
"""Groups of words that are looked for in a prompt's own states; all without the prompt's own tokens."""


@dataclass(frozen=True)
class Item:
    """A prompt with its answer, in words."""

    relation: str
    prompt: str
    concept: str
    answer: str
    rival: str
    """Another answer of the same relation."""
    category: tuple[str, ...]


def all_items() -> list[Item]:
    """Return one item per fact."""
    return [item for relation in RELATIONS for item in _items_of(relation)]


def _items_of(relation: Relation) -> list[Item]:
    answers = [answer for _, answer in relation.facts]
    items = []
    for index, (concept, answer) in enumerate(relation.facts):
        rivals = [other for other in answers[index + 1 :] + answers[:index] if other != answer]
        items.append(
            Item(relation.name, relation.template.format(concept), concept, answer, rivals[0], relation.category)
        )
    return items


def chosen_items(model: Model, limit: int, seed: int) -> list[Item]:
    """Return up to `limit` items whose answer and rival are single tokens, from each relation in turn."""
    usable = [
        item
        for item in all_items()
        if single_token(model, " " + item.answer) is not None and single_token(model, " " + item.rival) is not None
    ]
    return spread(usable, lambda item: item.relation, limit, seed)


def partners(items: Sequence[Item]) -> list[int]:
    """Return, per item, another item of another relation: the control's state and the control's words."""
    n = len(items)
    found = []
    for index in range(n):
        order = [(index + n // 2 + step) % n for step in range(n)]
        found.append(next(other for other in order if items[other].relation != items[index].relation))
    return found


def related_words(item: Item) -> list[str]:
    """Return the answer, its kind, and what else belongs to the concept, where that is a country."""
    words = [item.answer, *item.category]
    for country in COUNTRIES:
        if country.name == item.concept:
            words += [country.people, country.capital, country.language, country.currency, country.continent]
    return words


def foreign_words(item: Item) -> list[str]:
    """Return translations of the answer and of its kind."""
    return [word for english in (item.answer, *item.category) for word in TRANSLATIONS.get(english, ())]


def translated_words(item: Item) -> list[str]:
    """Return the English words that `foreign_words` translates."""
    return [english for english in (item.answer, *item.category) if english in TRANSLATIONS]


def word_groups(items: Sequence[Item]) -> list[dict[str, list[str]]]:
    """Return, per item, the words of each of `GROUPS`."""
    return [
        {
            "related": related_words(item),
            "answer": [item.answer],
            "category": list(item.category),
            "other category": list(items[other].category),
            "foreign": foreign_words(item),
            "other foreign": foreign_words(items[other]),
            "english": translated_words(item),
        }
        for item, other in zip(items, partners(items), strict=True)
    ]


def token_groups(model: Model, items: Sequence[Item]) -> list[list[list[int]]]:
    """Return, per item, the tokens of each of `GROUPS`, without tokens of its own or its partner's prompt."""
    groups = []
    for item, other, words in zip(items, partners(items), word_groups(items), strict=True):
        banned = prompt_tokens(model, item) | prompt_tokens(model, items[other])
        found = [group_tokens(model, words[group], cases="foreign" not in group) for group in GROUPS]
        groups.append([[token for token in group if token not in banned] for group in found])
    return groups


def prompt_tokens(model: Model, item: Item) -> set[int]:
    """Return the tokens of a prompt and all other spellings of its words: an echo is no reading."""
    spelled = (token for word in item.prompt.split() for token in word_tokens(model, word.strip(".,")))
    return set(model.encode(item.prompt)) | set(spelled)


def measure_ranks(model: Model, context: Context, *, name: str = "") -> pd.DataFrame:
    """Return one row per item and cell.

    Columns: item, relation, block, point; per group the best rank in the item's own state; `control`, the best rank of
    the item's related words in its partner's state; `probability` and `rival` of the answer and the rival; `final top`
    whether the model's own top token is the answer.
    """
    limit = N_ITEMS_QUICK if context.quick else N_ITEMS
    name = name or model.name
    items = chosen_items(model, limit, context.seed)

    def compute() -> pd.DataFrame:
        prompts = [item.prompt for item in items]
        cells = all_cells(model)
        states = capture_cells(model, prompts, cells)
        groups, partner = token_groups(model, items), partners(items)
        own: dict[int, tuple[Tensor, Tensor]] = {}
        control: dict[int, Tensor] = {}
        for index in context.progress(range(len(items)), f"reading answers, {name}"):
            asking = [other for other in range(len(items)) if partner[other] == index]
            words = [*groups[index], *(groups[other][0] for other in asking)]
            tokens = [_token(model, items[index].answer), _token(model, items[index].rival)]
            ranks, chances = lens_ranks(model, states[:, index], words, tokens)
            own[index] = ranks[:, : len(GROUPS)], chances
            control.update({other: ranks[:, len(GROUPS) + column] for column, other in enumerate(asking)})
        tops = output_log_probabilities(model, prompts).argmax(-1).tolist()
        tables = [
            pd.DataFrame(
                {
                    "item": item.prompt,
                    "relation": item.relation,
                    "block": [cell.block for cell in cells],
                    "point": [cell.point for cell in cells],
                    **{group: own[index][0][:, column].numpy() for column, group in enumerate(GROUPS)},
                    "control": control[index].numpy(),
                    "probability": own[index][1][:, 0].numpy(),
                    "rival": own[index][1][:, 1].numpy(),
                    "final top": tops[index] == _token(model, item.answer),
                }
            )
            for index, item in enumerate(items)
        ]
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, items=[asdict(item) for item in items], words=word_groups(items))
    return context.step(f"answers-{name}", params, compute)


def _token(model: Model, word: str) -> int:
    return model.token_id(" " + word)
