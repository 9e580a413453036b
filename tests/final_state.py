"""What must be true when the dust has settled: ledger, placements and index hold the model and nothing else."""

from collections.abc import Mapping

import numpy as np

from ingest.documents import centred, document
from ingest.index.engines import open_index
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import open_ledger


def check_final_state(settings: Settings, model: Mapping[str, str | None]) -> None:
    standing = {item_id: text for item_id, text in model.items() if text is not None}
    with open_ledger(settings.ledger_url) as ledger:
        rows = {row.item.item_id: row for page in ledger.items.pages() for row in page}
        assert {i: row.item.title for i, row in rows.items()} == standing
        assert ledger.pending.set_aside() == []
        live = ledger.generations.live()
        assert live is not None
        assert ledger.placements.count(live.name) == len(standing)
        placed = ledger.placements.of(live.name, standing)
        assert {i: p.version for i, p in placed.items() if p.present} == {i: row.version for i, row in rows.items()}

        index = open_index(settings)
        collection = index.open(live.name)
        ids = list(collection.ids())
        assert len(ids) == len(set(ids)) == collection.count()
        assert set(ids) == standing.keys()
        template = settings.text_template
        hashes = {i: document(Item(item_id=i, title=t), 1, template).content_hash for i, t in standing.items()}
        known = ledger.placements.vectors(live.fingerprint, hashes.values())
        for i, stored in collection.vectors(ids).items():
            assert np.allclose(stored, centred(known[hashes[i]], live.mean), atol=1e-5), i
        index.shut()
