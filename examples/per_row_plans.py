"""Per-row plans: one batch in which every row carries its own edit, or none."""

import rheostat as rh

PROMPT, SITE = "The capital of Germany is", "blocks.23.attn_out"


def main() -> None:
    model = rh.load("smollm2-135m-instruct")
    countries = [None, "France", "Italy"]
    plans = [
        country and rh.Replace(SITE, rh.FromPrompt(f"The capital of {country} is"), positions="last")
        for country in countries
    ]
    run = model.run([PROMPT] * len(plans), plans=plans)
    print(run.receipt)
    for country, row in zip(countries, run.top_tokens(1).itertuples(), strict=True):
        print(f"{country or 'no edit':8} {row.token:8} {row.probability:.3f}")


if __name__ == "__main__":
    main()
