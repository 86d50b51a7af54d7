"""A bulk export in the store: one under way at a site, what is known of it, and of whom it has brought everything."""

import sqlite3

import pytest
from msgspec.structs import replace

from dm_fhir.store.bulk_jobs import (
    BulkFile,
    BulkJob,
    begin_job,
    end_job,
    files_of,
    is_over,
    list_again,
    not_read_in_full,
    note_download,
    note_files,
    note_read_in_full,
    note_url,
    open_job,
    transaction_times,
)
from dm_fhir.store.ledger import Unit

OUTPUT = BulkFile("output", 1, "Observation", "https://store.test/1.ndjson?signature=a", 7)
MARKED = {"bulk: Observation": Unit("leon", "", "bulk: Observation", watermark="2026-01-01T00:00:00Z")}


def begun(db: sqlite3.Connection, site: str = "leon") -> BulkJob:
    return begin_job(db, site, "asked", None, MARKED, 1)


def listed(db: sqlite3.Connection, job: BulkJob, *files: BulkFile) -> BulkJob:
    return note_files(db, job, "2026-02-02T00:00:00.5+01:00", files or [OUTPUT], needs_token=None, faults=None)


def test_a_job_is_what_was_last_noted_of_it(db: sqlite3.Connection) -> None:
    job = begun(db)
    assert open_job(db, "leon") == job
    assert (job.state, job.url) == ("asked", None)
    job = note_url(db, job, "https://fhir.test/jobs/7", None)
    assert open_job(db, "leon") == job
    job = note_files(db, job, "2026-02-02T00:00:00Z", [OUTPUT], needs_token=True, faults="output[2]: no url")
    assert open_job(db, "leon") == job
    assert (job.state, job.needs_token) == ("listed", True)
    assert job.marks == {"bulk: Observation": ("2026-01-01T00:00:00Z", None)}
    is_over(db, job, "taken in")
    over = open_job(db, "leon")
    assert over is not None
    assert over.state == "taken in"
    end_job(db, job)
    assert open_job(db, "leon") is None


def test_a_server_that_does_not_take_since_has_exported_everything(db: sqlite3.Connection) -> None:
    job = begin_job(db, "leon", "asked", "2026-01-01T00:00:00Z", {}, 1)
    assert note_url(db, job, "https://fhir.test/jobs/7", None).since is None
    found = open_job(db, "leon")
    assert found is not None
    assert found.since is None


def test_a_site_has_one_job_at_a_time(db: sqlite3.Connection) -> None:
    begun(db)
    begun(db, "madrid")
    with pytest.raises(sqlite3.IntegrityError):
        begun(db)


def test_numbers_are_never_given_twice(db: sqlite3.Connection) -> None:
    first = begun(db)
    end_job(db, first)
    assert begun(db).number > first.number


def test_the_addresses_of_an_ended_job_are_forgotten(db: sqlite3.Connection) -> None:
    job = listed(db, note_url(db, begun(db), "https://fhir.test/jobs/secret", None))
    end_job(db, job)
    assert db.execute("SELECT url FROM bulk_job").fetchall() == [(None,)]
    assert db.execute("SELECT count(*) FROM bulk_file").fetchone() == (0,)


def test_what_was_downloaded_stays_so_when_files_are_listed_again(db: sqlite3.Connection) -> None:
    job = listed(db, begun(db), OUTPUT, BulkFile("error", 1, "OperationOutcome", "https://store.test/e"))
    note_download(db, job, OUTPUT, "Observation-1.ndjson", 70, 7)
    signed_anew = BulkFile("output", 1, "Observation", "https://store.test/1.ndjson?signature=b", 7)
    other = BulkFile("output", 2, "Observation", "https://store.test/0.ndjson?signature=b", 3)
    job = listed(db, list_again(db, job), signed_anew, other)
    assert [(one.number, one.name, one.bytes, one.lines) for one in files_of(db, job)] == [
        (1, "Observation-1.ndjson", 70, 7),
        (2, None, None, None),
    ]


def test_a_file_that_is_listed_at_another_place_gives_its_name_to_another(db: sqlite3.Connection) -> None:
    other = BulkFile("output", 2, "Observation", "https://store.test/0.ndjson", 7)
    job = listed(db, begun(db), OUTPUT, other)
    note_download(db, job, OUTPUT, "Observation-1.ndjson", 70, 7)
    job = listed(db, list_again(db, job), replace(other, number=1), replace(OUTPUT, number=2))
    assert [one.name for one in files_of(db, job)] == [None, None]


def test_files_that_only_a_query_tells_apart_are_not_each_other(db: sqlite3.Connection) -> None:
    first, second = (replace(OUTPUT, number=n, url=f"https://store.test/get?file={n}") for n in (1, 2))
    job = listed(db, begun(db), first, second)
    note_download(db, job, second, "Observation-2.ndjson", 70, 7)
    job = listed(db, list_again(db, job), first, second)
    assert [one.name for one in files_of(db, job)] == [None, None]
    note_download(db, job, second, "Observation-2.ndjson", 70, 7)
    job = listed(db, list_again(db, job), replace(second, number=2))
    assert [one.name for one in files_of(db, job)] == [None]


@pytest.mark.parametrize("time", ["2026-02-02T00:00:01.5+01:00", None])
def test_files_as_of_another_moment_are_other_files(db: sqlite3.Connection, time: str | None) -> None:
    job = listed(db, begun(db))
    note_download(db, job, OUTPUT, "Observation-1.ndjson", 70, 7)
    job = note_files(db, list_again(db, job), time, [OUTPUT], needs_token=None, faults=None)
    assert [one.name for one in files_of(db, job)] == [None]
    assert open_job(db, "leon") == job


def test_a_file_that_has_another_count_now_is_another_file(db: sqlite3.Connection) -> None:
    job = listed(db, begun(db))
    note_download(db, job, OUTPUT, "Observation-1.ndjson", 70, 7)
    job = listed(db, job, BulkFile("output", 1, "Observation", OUTPUT.url, 8))
    assert [one.name for one in files_of(db, job)] == [None]


def test_transaction_times_are_in_the_servers_words(db: sqlite3.Connection) -> None:
    job = listed(db, begun(db))
    end_job(db, job)
    begun(db)
    assert transaction_times(db, "leon") == ["2026-02-02T00:00:00.5+01:00"]


def test_of_whom_everything_was_read(db: sqlite3.Connection) -> None:
    note_read_in_full(db, "leon", ["Patient/2", "Patient/1"])
    note_read_in_full(db, "madrid", ["Patient/3"])
    assert not_read_in_full(db, "leon", ["Patient/3", "Patient/1"]) == ["Patient/3"]
    note_read_in_full(db, "leon", ["Patient/1"])
    assert not_read_in_full(db, "leon", ["Patient/2"]) == ["Patient/2"]
