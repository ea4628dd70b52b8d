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
            minutes="130 / 2",
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
            name="mnist-addition",
            title="Activation addition on small networks of digits: does a − b turn b into a, and what does it break?",
            source="Baker, “Activation additions in a simple MNIST network” (LessWrong, 2023)",
            minutes="9 / 1",
            home="rheostat.studies.mnist_addition:STUDY",
        ),
        StudyCard(
            name="actadd",
            title="Activation addition: what the difference of two short prompts does on and off its topic",
            source="Turner et al., “Activation Addition: Steering Language Models Without Optimization” "
            "(arXiv:2308.10248)",
            minutes="25 / 2",
            home="rheostat.studies.actadd:STUDY",
        ),
        StudyCard(
            name="repe",
            title="Representation engineering: reading concepts from states, and steering by them",
            source="Zou et al., “Representation Engineering” (arXiv:2310.01405)",
            minutes="35 / 5",
            home="rheostat.studies.repe:STUDY",
        ),
        StudyCard(
            name="flipped-labels",
            title="Demonstrations with changed labels: flipped, unrelated, in random order, left out",
            source="Wei et al., “Larger language models do in-context learning differently” (arXiv:2303.03846)",
            minutes="35 / 3",
            home="rheostat.studies.flipped_labels:STUDY",
        ),
        StudyCard(
            name="impairment",
            title="Graded damage: how abilities break, whether a topic has its own units, and which of two models is "
            "sturdier",
            source="Helm-Burger, “Progress report 7” (LessWrong, 2022)",
            minutes="100 / not timed",
            home="rheostat.studies.impairment:STUDY",
        ),
        StudyCard(
            name="held-back",
            title="A served impairment: whether a walk down the dial finds a safe level, what stays held back, and the "
            "cost",
            source="Helm-Burger, “Progress report 7” (LessWrong, 2022)",
            minutes="65 / 5",
            home="rheostat.studies.held_back:STUDY",
        ),
        StudyCard(
            name="task-vectors",
            title="Task vectors: what demonstrations leave at the last token, and what it does in other prompts",
            source="Hendel et al., “In-Context Learning Creates Task Vectors” (2023)",
            minutes="41 / 2",
            home="rheostat.studies.task_vectors:STUDY",
        ),
        StudyCard(
            name="vector-arithmetic",
            title="Vector arithmetic: from argument to answer, one MLP update for all arguments, and what the top MLPs "
            "hold",
            source="Merullo et al., “Language Models Implement Simple Word2Vec-style Vector Arithmetic” "
            "(arXiv:2305.16130)",
            minutes="47 / 4",
            home="rheostat.studies.vector_arithmetic:STUDY",
        ),
    )
}
