"""Embed texts with a model that each process loads once, and find the nearest ones.

    $ python examples/embed.py
    256 numbers for each of 6 texts
    "The cat sat on the mat" is nearest to "A kitten sleeps on the rug"
    "Shares fell on Monday" is nearest to "The stock market lost three percent"
    "He scored in the last minute" is nearest to "The team won the match"

The model, 16 MB of word vectors, comes in the package `wordllama` (examples/requirements.txt): nothing is downloaded.
"""

from pathlib import Path
from typing import Any

from sheaf import Cluster, task

TEXTS = [
    "The cat sat on the mat",
    "A kitten sleeps on the rug",
    "Shares fell on Monday",
    "The stock market lost three percent",
    "He scored in the last minute",
    "The team won the match",
]


def load_model() -> Any:
    import wordllama  # here, so that only what embeds carries it

    # Its tokenizer is in the package too, but is searched for in a cache folder only.
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@task(setup=load_model)
def embed(text: str, model: Any) -> list[float]:
    return model.embed([text], norm=True)[0].tolist()


def main() -> None:
    with Cluster.any() as cluster:
        vectors = dict(zip(TEXTS, cluster.map(embed, TEXTS), strict=True))

    def likeness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    print(f"{len(vectors[TEXTS[0]])} numbers for each of {len(TEXTS)} texts")
    for text in TEXTS[::2]:
        nearest = max((other for other in TEXTS if other != text), key=lambda other: likeness(text, other))
        print(f'"{text}" is nearest to "{nearest}"')


if __name__ == "__main__":
    main()
