"""The README says what the zoo is."""

from tests.readme import README, with_table


def test_the_table_of_the_zoo_is_current():
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "write it anew with: python -m tests.readme"
