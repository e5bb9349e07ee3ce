from __future__ import annotations

import re
from pathlib import Path

from crypto_assets.database.dictionary import MARKER, current_text
from crypto_assets.database.tables import TABLES

DICTIONARY = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_the_data_dictionary_is_current():
    text = DICTIONARY.read_text(encoding="utf-8")
    assert text == current_text(text), "run python -m crypto_assets.database.dictionary"


def test_every_table_and_column_is_in_it():
    text = DICTIONARY.read_text(encoding="utf-8").split(MARKER)[1]
    for table in TABLES.values():
        assert f"`{table.name}`" in text
        assert all(re.search(rf"^\| `{column.name}` \|", text, re.MULTILINE) for column in table.columns)
