"""A planted network in which each topic has units of its own, so that specific damage is known to be there.

Word-level, three blocks, attention nearly nothing. A prompt ends in a cue of its topic. In block 0 the topic's units
see the cue and write the topic's feature; in block 1 its writers fire where cue *and* feature are there and write the
topic's keywords. So damage to a topic's units in block 0, be it noise or shrinking, reaches no prompt of another
topic: the writers that read it see no cue of theirs. All other weights are small and random.
"""

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rheostat.model import Model, load
from rheostat.tasks.item import Item, Task

TOPICS = tuple("abcde")
N_CUES = 4
"""Cues of a topic, and keywords: any cue may be followed by any keyword."""
UNITS_PER_TOPIC = 2
"""In block 0, and as many writers in block 1."""
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
N_SPECIAL = len(SPECIAL)
D_MLP, D_MODEL, D_VOCAB = 200, 80, 64
FEATURE = D_VOCAB
"""Coordinate of the first topic's feature; below it stand the words', one each."""
CONSTANT = 4.0
"""Last coordinate of every word: it makes up most of a state's length, so that norms leave the rest nearly linear."""
SMALL = 0.02
"""Spread of the weights that mean nothing."""


def planted_model(seed: int = 0) -> Model:
    """Return the network, with a tokenizer in which `w7` is token 7."""
    config = LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=D_MODEL,
        intermediate_size=D_MLP,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = LlamaForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=SMALL)
            _plant(module)
    return load(module, tokenizer=_tokenizer())


def planted_units(topic: str) -> tuple[int, ...]:
    """Return the topic's units, the same numbers in blocks 0 and 1."""
    place = TOPICS.index(topic)
    return tuple(range(7 + 11 * place, 7 + 11 * place + UNITS_PER_TOPIC))


def planted_tasks(n_per_topic: int, *, seed: int) -> tuple[Task, ...]:
    """Return prompts of one to six random words and a cue, with a keyword of the cue's topic as answer."""
    rng = np.random.default_rng(seed)
    tasks = []
    for topic in TOPICS:
        cues, keywords = _words(topic)
        items = []
        for number in range(n_per_topic):
            others = rng.integers(N_SPECIAL + 2 * N_CUES * len(TOPICS), D_VOCAB, size=rng.integers(1, 7))
            words = [*others, rng.choice(cues)]
            prompt = " ".join(f"w{word}" for word in words)
            items.append(Item(prompt, f" w{rng.choice(keywords)}", group=f"{topic} {number}"))
        tasks.append(Task(topic, tuple(items)))
    return tuple(tasks)


def _plant(module: LlamaForCausalLM) -> None:
    """Write embeddings that name words, and each topic's units."""
    words = torch.arange(D_VOCAB)
    embedding, unembedding = module.model.embed_tokens.weight, module.lm_head.weight
    embedding.zero_()
    embedding[words, words] = 1.0
    embedding[words, -1] = CONSTANT
    first, second = (module.model.layers[block].mlp for block in (0, 1))
    for place, topic in enumerate(TOPICS):
        cues, keywords = _words(topic)
        unembedding[keywords, keywords] += 1.3
        for unit in planted_units(topic):
            for mlp in (first, second):
                mlp.gate_proj.weight[unit] = mlp.up_proj.weight[unit] = 0.0
                mlp.down_proj.weight[:, unit] = 0.0
            first.gate_proj.weight[unit, cues] = 1.0
            first.up_proj.weight[unit, cues] = 0.5
            first.down_proj.weight[FEATURE + place, unit] = 0.5
            second.gate_proj.weight[unit, cues] = 2.0
            second.up_proj.weight[unit, FEATURE + place] = 0.3
            second.down_proj.weight[keywords, unit] = 0.25


def _words(topic: str) -> tuple[list[int], list[int]]:
    """Return the topic's cues and its keywords."""
    first = N_SPECIAL + 2 * N_CUES * TOPICS.index(topic)
    return list(range(first, first + N_CUES)), list(range(first + N_CUES, first + 2 * N_CUES))


def _tokenizer() -> PreTrainedTokenizerFast:
    special = [AddedToken(one, special=True) for one in SPECIAL]
    words = {one: place for place, one in enumerate([*SPECIAL, *(f"w{number}" for number in range(4, D_VOCAB))])}
    tokenizer = Tokenizer(models.WordLevel(words, SPECIAL[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
