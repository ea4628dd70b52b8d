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
            name="attribution-patching",
            title="Attribution patching: how well one gradient estimates a run per place",
            source="Nanda, “Attribution patching: activation patching at industrial scale” (2023)",
            minutes="30 / 3",
            home="rheostat.studies.attribution_patching:STUDY",
        ),
        StudyCard(
            name="causal-tracing",
            title="Causal tracing: which activations carry a fact past noise on its subject",
            source="Meng et al., “Locating and Editing Factual Associations in GPT” (arXiv:2202.05262)",
            minutes="30 / 2",
            home="rheostat.studies.causal_tracing:STUDY",
        ),
        StudyCard(
            name="recall",
            title="Recall of facts: what the last token reads, what a subject's states say, who extracts the answer",
            source="Geva et al., “Dissecting Recall of Factual Associations” (2023)",
            minutes="25 / 2",
            home="rheostat.studies.recall:STUDY",
        ),
        StudyCard(
            name="actadd",
            title="Activation addition: what the difference of two short prompts does on and off its topic",
            source="Turner et al., “Activation Addition: Steering Language Models Without Optimization” "
            "(arXiv:2308.10248)",
            minutes="25 / 2",
            home="rheostat.studies.actadd:STUDY",
        ),
    )
}
