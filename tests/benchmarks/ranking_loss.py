"""What int8, the graph and the truncated weights cost together in nDCG@10, on the reference data.

`python -m tests.benchmarks.ranking_loss movies|books --exact FOLDER [--split S] [--users N] [--home FOLDER]`: `blend` as it
is served, beside the same score computed exactly: vectors of the fp32 artifact in FOLDER (`akin export-model --recipe
fp32 --out FOLDER`), every item ranked, no weight left out. Both with the weights that the served one has learned.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from ingest.catalogue import Catalogue
from ingest.encoder.artifact import read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.files import file_source
from ingest.progress import progress_bar
from ingest.scoring import priors, text_scores
from ingest.settings import Settings, load_settings
from ingest.taste.interactions import collect
from ingest.taste.keeping import Keep
from ingest.taste.model import train
from ingest.taste.texts import Texts
from ingest.weights import profile_weights, saturated, votes
from serving.evaluate.experiment import read_events
from serving.evaluate.metrics import bootstrap, ndcg
from serving.evaluate.split import Split, split_events
from serving.evaluate.trial import Trial, best, make_trial
from serving.evaluate.workspace import (
    build_generation,
    documents,
    shared_embeddings,
    take_in_events,
    take_in_items,
    workspace,
)
from serving.live import LiveIndex
from serving.recommend import Recommender, RecommendRequest
from tests.artifacts import default_artifact
from tests.reference import BOOK_ATTRIBUTES, MAPPINGS, MOVIE_ATTRIBUTES, reference_data

CUTOFF = 10
KINDS = {
    "movies": {"attributes": MOVIE_ATTRIBUTES},
    "books": {"attributes": BOOK_ATTRIBUTES, "text_template": "{title}\n{authors}\n{categories}\n{text}"},
}


def served(catalogue: Catalogue, trial: Trial) -> np.ndarray:
    """What the API answers: int8 vectors, the index as built, the weights that are kept."""
    live = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders)
    recommender = Recommender(catalogue.ledger, live, catalogue.settings)
    place = trial.place
    lists = np.full((len(trial.users), CUTOFF), -1)
    for row, user in enumerate(trial.users):
        found = recommender.recommend(RecommendRequest(user_id=user, strategy="blend", limit=CUTOFF)).items
        lists[row, : len(found)] = [place[item.item_id] for item in found]
    return lists


def exact(catalogue: Catalogue, trial: Trial, split: Split, text: np.ndarray) -> np.ndarray:
    """The same score over every item, from fp32 vectors and all weights."""
    settings = catalogue.ledger.learned.usual().under(catalogue.settings)
    weights = catalogue.ledger.learned.blend().under(settings)
    fadings = {"history_fading": weights.fading, "taste_fading": catalogue.ledger.learned.taste_fading()}
    settings = settings.model_copy(update=fadings)
    histories = defaultdict(list)
    for event in split.train:
        histories[event.user_id].append(event)
    n, place = len(trial.items), trial.place
    interactions = collect(trial.items, histories.values(), catalogue.ledger.events.present(votes(settings)), settings)
    texts = Texts(text)
    unit, rarity = texts.vectors, texts.rarity
    dense = train(interactions, texts, settings, [Keep(n)])[Keep(n)].incoming.toarray()
    recent = priors(dict(catalogue.ledger.events.recent(weights.half_life_days, n, votes(settings))))
    prior = np.array([recent.get(item_id, 0.0) for item_id in trial.items])
    lists = np.full((len(trial.users), CUTOFF), -1)
    for row, user in enumerate(trial.users):
        newest_first = histories[user][: -settings.history_limit - 1 : -1]
        history = [event for event in newest_first if event.item_id in place]
        worth = np.array(profile_weights(history, settings))
        columns = np.array([place[event.item_id] for event in history])
        query = np.zeros(n)
        np.add.at(query, columns, [saturated(weight) for weight in worth])
        query = np.clip(query, -1, 1)
        query /= max(float(np.linalg.norm(query)), 1e-12)
        score = dense @ query.astype(np.float32) + weights.prior * prior
        score += weights.text * rarity * text_scores(unit, unit[columns], worth)
        lists[row] = best(score.astype(np.float64), trial.seen[row], CUTOFF)
    return lists


def gains(lists: np.ndarray, trial: Trial) -> np.ndarray:
    hits = np.array([np.isin(found, sought) for found, sought in zip(lists, trial.relevant, strict=True)])
    return ndcg(hits, np.array([len(sought) for sought in trial.relevant]))


def fp32_vectors(catalogue: Catalogue, trial: Trial, folder: Path) -> np.ndarray:
    texts = {one.item.item_id: one.text for page in documents(catalogue) for one in page}
    encoder = OnnxEncoder(read_artifact(folder))
    ordered = [texts[item_id] for item_id in trial.items]
    with progress_bar("fp32 vectors") as show:
        found = []
        for start in range(0, len(ordered), 256):
            found.append(encoder.embed(ordered[start : start + 256]))
            show(start, len(ordered))
    return np.vstack(found).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=sorted(KINDS))
    parser.add_argument("--exact", type=Path, required=True)
    parser.add_argument("--split", default="auto")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    folder, mapping = reference_data(options.data), MAPPINGS / f"{options.data}.toml"
    settings: Settings = load_settings(encoder=default_artifact(), **KINDS[options.data])
    items, events = (file_source(str(folder / f"{name}.parquet"), mapping=mapping) for name in ("items", "events"))
    with workspace(settings) as catalogue:
        take_in_items(catalogue, items, progress_bar)
        given, _ = read_events(catalogue.settings, events, progress_bar)
        item_ids = [one.item.item_id for page in documents(catalogue) for one in page]
        split = split_events(given, frozenset(item_ids), catalogue.settings, kind=options.split)
        trial = make_trial(split, item_ids, users=options.users, seed=1)
        take_in_events(catalogue, split.train, progress_bar)
        with shared_embeddings(catalogue, options.home):
            build_generation(catalogue, progress_bar)
        as_served = gains(served(catalogue, trial), trial)
        as_exact = gains(exact(catalogue, trial, split, fp32_vectors(catalogue, trial, options.exact)), trial)
    lost = as_exact - as_served
    low, high = bootstrap(lost[:, np.newaxis], seed=1)
    mean = as_exact.mean()
    print(f"{options.data}, {split.description}: {len(lost)} users")
    print(f"nDCG@{CUTOFF} served {as_served.mean():.4f}, exact {mean:.4f}")
    print(f"lost {lost.mean() / mean:+.2%} (95 % interval {low[0] / mean:+.2%} to {high[0] / mean:+.2%})")


if __name__ == "__main__":
    main()
