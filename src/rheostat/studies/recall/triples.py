"""A small network that must recall: trained from nothing on made-up (subject, relation, attribute) triples.

A subject is two names of which neither says anything alone, so the network has to put them together before it can look
an attribute up. It is the case in which a recall mechanism is known to be there.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rheostat.model import Model, load

N_NAMES, N_SUBJECTS, N_RELATIONS, N_ATTRIBUTES = 24, 96, 4, 24
N_BLOCKS, WIDTH, N_HEADS = 6, 64, 4
STEPS, RATE = 400, 3e-3
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
LINK = "is"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Triple:
    """One fact of the made-up world."""

    first: str
    last: str
    relation: str
    attribute: str

    @property
    def prompt(self) -> str:
        """The text whose next word is the attribute."""
        return f"{self.first} {self.last} {self.relation} {LINK}"


def triples(seed: int) -> list[Triple]:
    """Return every triple: each subject has one attribute per relation."""
    words = _words(2 * N_NAMES + N_RELATIONS * (1 + N_ATTRIBUTES), seed)
    firsts, lasts = words[:N_NAMES], words[N_NAMES : 2 * N_NAMES]
    relations = words[2 * N_NAMES : 2 * N_NAMES + N_RELATIONS]
    attributes = np.array(words[2 * N_NAMES + N_RELATIONS :]).reshape(N_RELATIONS, N_ATTRIBUTES)
    rng = np.random.default_rng(seed)
    pairs = [(firsts[one % N_NAMES], lasts[(one + one // N_NAMES * 5) % N_NAMES]) for one in range(N_SUBJECTS)]
    return [
        Triple(first, last, relation, str(attributes[number, rng.integers(N_ATTRIBUTES)]))
        for first, last in pairs
        for number, relation in enumerate(relations)
    ]


def trained(facts: list[Triple], seed: int) -> tuple[Model, float]:
    """Return a network trained on the triples, and the share of them that it recalls."""
    tokenizer = _tokenizer(facts)
    rows = torch.tensor([tokenizer(f"{one.prompt} {one.attribute}")["input_ids"] for one in facts])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=N_BLOCKS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=N_HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=16,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            _loss(network, rows).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    model = load(network.eval(), tokenizer=tokenizer)
    return model, float(
        (model.run([one.prompt for one in facts]).logits[:, 0].argmax(-1) == rows[:, -1]).float().mean()
    )


def _loss(network: LlamaForCausalLM, rows: Tensor) -> Tensor:
    logits = network(input_ids=rows[:, :-1]).logits[:, -1]
    found: Tensor = torch.nn.functional.cross_entropy(logits, rows[:, -1])
    return found


def _words(n: int, seed: int) -> list[str]:
    syllables = ["".join(pair) for pair in product(CONSONANTS, VOWELS)]
    every = ["".join(pair) for pair in product(syllables, syllables)]
    chosen = np.random.default_rng(seed).permutation(len(every))[:n]
    return [every[one] for one in chosen]


def _tokenizer(facts: list[Triple]) -> PreTrainedTokenizerFast:
    words = dict.fromkeys(word for one in facts for word in (*one.prompt.split(), one.attribute))
    vocabulary = {word: number for number, word in enumerate([UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN)
