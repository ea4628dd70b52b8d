"""OpenAI's own client completes, streams and chats, unchanged, with an impairment and with edits."""

import openai
import pytest
import torch

import rheostat as rh
from rheostat.models.identity import hash_weights
from rheostat.serve.audit import read_log
from rheostat.serve.exchange import ids_hash

PROMPT = "w5 w9 w12 w7"


def test_a_completion_is_what_the_model_writes(served):
    done = served.client().completions.create(model="toy", prompt=PROMPT, max_tokens=8)
    written = served.model.generate(PROMPT, max_new_tokens=8)
    assert done.choices[0].text == " " + written.text or done.choices[0].text == written.text
    assert done.usage.completion_tokens == len(written.ids[0])
    assert done.choices[0].finish_reason in ("length", "stop")
    assert done.model_extra["rheostat"]["impairment"] == 0
    assert done.model_extra["rheostat"]["outputs"] == [ids_hash(written.ids[0])]


def test_a_stream_says_the_same_as_the_whole(served):
    client = served.client()
    asked = {"model": "toy", "prompt": PROMPT, "max_tokens": 8, "extra_body": {"impairment": 0.2}}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    ends = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert [end.choices[0].finish_reason for end in ends] == [whole.choices[0].finish_reason]
    assert ends[0].model_extra["rheostat"]["hash"] != ""
    assert ends[0].model_extra["rheostat"]["outputs"] == whole.model_extra["rheostat"]["outputs"]


def test_a_chat_is_answered_whole_and_as_a_stream(served):
    client = served.client()
    asked = {"model": "toy", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 6}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.role == "assistant"
    parts = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(**asked, stream=True)
        if chunk.choices
    ]
    assert "".join(parts) == whole.choices[0].message.content != ""


def test_an_impairment_changes_the_answer_and_edits_do(served):
    client = served.client(sites=("*",))
    asked = {"model": "toy", "prompt": PROMPT, "max_tokens": 8}

    def text(**extra):
        return client.completions.create(**asked, extra_body=extra).choices[0].text

    plain = text()
    assert text(impairment=0.0) == plain
    assert text(impairment=1.0) != plain
    edit = {"edit": "scale", "site": "blocks.0.mlp_out", "factor": -3.0}
    assert text(edits=[edit]) != plain
    assert text(edits=[{**edit, "factor": 1.0}]) == plain
    vector = [3.0] * served.model.d_model
    plan = rh.Plan((rh.Add("blocks.1.resid_post", torch.tensor(vector)),))
    steered = text(steering={"site": "blocks.1.resid_post", "vector": vector})
    assert steered.split() == served.model.generate(PROMPT, plan, max_new_tokens=8).text.split()


def test_the_model_is_described_with_the_hash_of_its_weights(served):
    (listed,) = served.client().models.list().data
    described = served.client().models.retrieve("toy")
    assert listed == described
    assert listed.model_extra["weights"] == hash_weights(served.model.module)
    assert read_log(served.settings.audit_path)[0]["weights"] == served.model.weight_hash


def test_several_prompts_and_choices_come_in_order(served):
    client = served.client()
    done = client.completions.create(model="toy", prompt=[PROMPT, "w30 w31"], n=2, max_tokens=4)
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    texts = [choice.text for choice in done.choices]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    sampled = client.completions.create(model="toy", prompt=PROMPT, n=4, max_tokens=6, temperature=2.0)
    assert len({choice.text for choice in sampled.choices}) > 1


def test_sampling_repeats_and_another_seed_gives_another_text(served):
    client = served.client()
    asked = {"model": "toy", "prompt": PROMPT, "max_tokens": 12, "temperature": 3.0}
    first, again, other = (client.completions.create(**asked, seed=seed).choices[0].text for seed in (1, 1, 2))
    assert first == again != other


def test_a_stop_text_ends_the_answer_before_it(served):
    client = served.client()
    text = client.completions.create(model="toy", prompt=PROMPT, max_tokens=8).choices[0].text
    words = text.split()
    place = next(i for i, word in enumerate(words) if i > 0 and word not in words[:i])
    stopped = client.completions.create(model="toy", prompt=PROMPT, max_tokens=8, stop=words[place])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].text.split() == words[:place]


def test_probabilities_are_shown_to_keys_that_may_see_them(served):
    asked = {"model": "toy", "prompt": PROMPT, "max_tokens": 3, "logprobs": 2}
    done = served.client(logits=True).completions.create(**asked)
    shown = done.choices[0].logprobs
    assert len(shown.token_logprobs) == 3 and all(chance <= 0 for chance in shown.token_logprobs)
    assert "".join(shown.tokens).strip() == done.choices[0].text
    with pytest.raises(openai.PermissionDeniedError, match="may not see probabilities"):
        served.client().completions.create(**asked)


def test_mistakes_come_back_as_the_errors_of_the_client(served):
    client = served.client()
    with pytest.raises(openai.NotFoundError, match="serves 'toy' alone"):
        client.completions.create(model="gpt-4", prompt=PROMPT)
    with pytest.raises(openai.BadRequestError, match="system comes first"):
        client.chat.completions.create(
            model="toy", messages=[{"role": "user", "content": "w5"}, {"role": "system", "content": "w6"}]
        )
    with pytest.raises(openai.BadRequestError, match="best_of"):
        client.completions.create(model="toy", prompt=PROMPT, best_of=3)
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        client.completions.create(model="toy", prompt=PROMPT, logit_bias={"5": 3})
    with pytest.raises(openai.BadRequestError, match="takes 64"):
        client.completions.create(model="toy", prompt=" ".join(["w5"] * 60), max_tokens=10)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(api_key="rh-nothing", base_url=f"{served.url}/v1").models.list()


def test_the_model_is_described_with_its_dial(served):
    (found,) = served.client().models.list().data
    assert found.id == "toy"
    assert found.model_extra["impairment"]["most"] == 8.0
    assert served.client().models.retrieve("toy").id == "toy"


def test_the_lens_reads_the_impaired_network(served):
    key = served.key(endpoints=("lens",), sites=("*",), activations=True, logits=True)
    asked = {"prompt": PROMPT, "k": 1}
    plain, same, impaired = (
        served.post("/v1/lens", key, **asked, impairment=level).json() for level in (0.0, 0.0, 1.0)
    )
    assert plain["rows"] == same["rows"] != impaired["rows"]
    assert plain["output"] != impaired["output"]
    reading = served.model.lens(PROMPT, k=1)
    assert [row["token"] for row in plain["rows"]] == list(reading.table["token"])
    without = served.key(endpoints=("lens",), sites=("*",), activations=True)
    assert "probability" not in served.post("/v1/lens", without, **asked).text
