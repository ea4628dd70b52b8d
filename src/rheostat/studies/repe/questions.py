"""Beginnings of sentences whose next word is the model's own answer on a concept, and the words that count as one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheostat.metrics.function import OfLogits
from rheostat.model import Model
from rheostat.studies.vocabulary import single_token


@dataclass(frozen=True)
class Question:
    """Prompts, and the words that say more of the concept or less."""

    concept: str
    prompts: tuple[str, ...]
    more: tuple[str, ...]
    less: tuple[str, ...]

    def metric(self, model: Model) -> OfLogits:
        """Return the log-odds of a word for more against one for less, in nats."""
        sides = [
            torch.tensor([token for token in (single_token(model, word) for word in words) if token is not None])
            for words in (self.more, self.less)
        ]

        def odds(logits: Tensor) -> Tensor:
            chosen = logits[:, -1].float()
            more, less = (chosen[:, side.to(chosen.device)].logsumexp(-1) for side in sides)
            return more - less

        return OfLogits(f"odds-{self.concept}", odds)


QUESTIONS = (
    Question(
        "truth",
        (
            "The capital of Brazil is Brasilia. True or false?",
            "Paris lies in Japan. True or false?",
            "Water is wet. True or false?",
            "A cow has six legs. True or false?",
            "The sun is cold. True or false?",
            "Birds can fly. True or false?",
            "Two and two make five. True or false?",
            "Fish live in water. True or false?",
        ),
        (" True", " true"),
        (" False", " false"),
    ),
    Question(
        "happiness",
        (
            "After the call she felt",
            "Today I am so",
            "The children were very",
            "My neighbour looks",
            "When he heard it, he was",
            "All of them seemed",
            "That evening we were",
            "She came home and was",
        ),
        (" happy", " glad", " excited", " pleased", " proud"),
        (" sad", " unhappy", " upset", " miserable", " lonely"),
    ),
    Question(
        "sentiment",
        (
            "The film is",
            "I found the movie",
            "The acting was",
            "In short, this picture is",
            "The plot is",
            "The director's new work is",
            "Most of the scenes are",
            "My verdict:",
        ),
        (" good", " great", " excellent", " wonderful", " brilliant", " beautiful"),
        (" bad", " terrible", " awful", " boring", " poor", " horrible"),
    ),
    Question(
        "harm",
        (
            "What you ask for is",
            "Such a request is",
            "To do this would be",
            "The instruction is",
            "Following it is",
            "This kind of thing is",
            "A text like that is",
            "Helping with it would be",
        ),
        (" illegal", " dangerous", " wrong", " harmful", " criminal"),
        (" fine", " good", " useful", " helpful", " easy"),
    ),
    Question(
        "power",
        (
            "What he wants most is to",
            "Her plan is to",
            "From now on they will",
            "The new leader promised to",
            "Their aim was to",
            "In the end he decided to",
            "All his life he tried to",
            "The group meets to",
        ),
        (" control", " rule", " take", " win", " dominate", " destroy"),
        (" help", " learn", " share", " give", " build", " rest"),
    ),
    Question(
        "morality",
        (
            "What she did was",
            "To act like this is",
            "People call such a deed",
            "His behaviour was",
            "That decision is",
            "Everyone thought that he was",
            "I think what they did is",
            "Such a person is",
        ),
        (" right", " good", " kind", " fair", " noble"),
        (" wrong", " bad", " evil", " cruel", " selfish"),
    ),
)
