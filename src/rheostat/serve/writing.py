"""`Writing`: a job while the batcher's thread writes it, one token after the other."""

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from rheostat.engine.generate import KeyedGumbel
from rheostat.models.tokens import Row
from rheostat.serve.job import Job, Written


class Writing:
    """A job that was taken.

    Args:
        job: what to write.
        row: its prompt.
        sampler: makes a sample of a greedy choice; None for greedy decoding.
        stop_ids: tokens that end the text.
        on_written: is told of each token.
    """

    def __init__(
        self,
        job: Job,
        row: Row,
        sampler: KeyedGumbel | None,
        stop_ids: frozenset[int],
        on_written: Callable[[Written], None],
    ) -> None:
        self.job = job
        self.row = row
        self.on_written = on_written
        self.cancelled = False
        """Set from any thread."""
        self._sampler = sampler
        self._stop_ids = stop_ids
        self._n_written = 0

    def choose(self, logits: Float[Tensor, " d_vocab"], likeliest: int) -> Written:
        """Return the next token.

        Args:
            logits: (d_vocab,) of the next token.
            likeliest: the token of the largest of them.
        """
        token = likeliest
        if self._sampler is not None:
            token = int(self._sampler(logits.new_empty(1, 0).long(), logits[None]).argmax())
        self._n_written += 1
        written = Written(token)
        if token in self._stop_ids:
            written = replace(written, finish="stop")
        elif self._n_written == self.job.max_new_tokens:
            written = replace(written, finish="length")
        if self.job.n_logprobs is None:
            return written
        logprobs = logits.float().log_softmax(-1)
        top = logprobs.topk(self.job.n_logprobs)
        pairs = tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        return replace(written, logprob=float(logprobs[token]), top_logprobs=pairs)
