"""The README shows what the scenarios require: every fault has its row there, and the row says what holds today."""

from .scenarios import SCENARIOS
from .table import BEGIN, END, README, readme_table
from .write_scenarios import WRITE_SCENARIOS


def test_the_readmes_table_is_the_one_that_the_scenarios_give() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == readme_table().strip()


def test_every_fault_has_a_row() -> None:
    rows = [line.split("|")[1].strip() for line in readme_table().splitlines() if line.startswith("| T")]
    assert rows == sorted(
        {f"T{scenario.t}" for scenario in (*SCENARIOS, *WRITE_SCENARIOS)}, key=lambda name: int(name[1:])
    )
    assert len(rows) == 77
