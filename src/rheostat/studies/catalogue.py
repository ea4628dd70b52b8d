"""The shipped studies, listed without importing any of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyCard:
    """What a list of studies shows."""

    name: str
    title: str
    source: str
    minutes: str
    """Rough duration on two cores: full / quick."""
    home: str
    """`module:attribute` of the `Study`."""


STUDIES: dict[str, StudyCard] = {
    card.name: card
    for card in (
        StudyCard(
            name="decoding",
            title="Decoding intermediate activations: what each layer reads, and whether that is where to edit",
            source="Rimsky, “Decoding intermediate activations in Llama-2-7b” (LessWrong, 2023)",
            minutes="20 / 1",
            home="rheostat.studies.decoding:STUDY",
        ),
        StudyCard(
            name="recall",
            title="Recall of facts: what the last token reads, what a subject's states say, who extracts the answer",
            source="Geva et al., “Dissecting Recall of Factual Associations” (2023)",
            minutes="25 / 2",
            home="rheostat.studies.recall:STUDY",
        ),
    )
}
