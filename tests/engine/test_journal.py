import json

import pytest

from cellflow.engine.journal import Journal

USAGE = {"seconds": 0.5, "peak_mb": 10, "host": "here"}
PARTS = {7: {"n": 1}, 3: {"name": "Zelle \u00e4", "rows": [1, 2]}, 12: {}}


def _written(path, key="k"):
    journal = Journal(path, key)
    journal.failed(7, "OSError: lost", "Traceback\n  line")
    for block, part in PARTS.items():
        journal.finished(block, part, USAGE)
    journal.close()
    return path.read_bytes()


def test_a_journal_cut_at_any_byte_resumes(tmp_path):
    path = tmp_path / "j.jsonl"
    whole = _written(path)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        journal = Journal(path, "k")
        lines = whole[:end].count(b"\n")
        kept = dict(list(PARTS.items())[: max(0, lines - 2)])
        assert journal.done == kept
        for block in PARTS.keys() - kept.keys():
            journal.finished(block, PARTS[block], USAGE)
        journal.close()
        again = Journal(path, "k")
        assert again.done == PARTS
        again.close()


def test_garbage_behind_the_last_whole_line_is_cut_off(tmp_path):
    path = tmp_path / "j.jsonl"
    whole = _written(path)
    path.write_bytes(whole + b"\x00\x00\xff\n[1, 2]\n")
    journal = Journal(path, "k")
    journal.finished(99, {"n": 9}, USAGE)
    journal.close()
    again = Journal(path, "k")
    assert again.done == {**PARTS, 99: {"n": 9}}


@pytest.mark.parametrize("key", ["", "k2", "K"])
def test_another_key_starts_afresh(tmp_path, key):
    path = tmp_path / "j.jsonl"
    _written(path)
    assert Journal(path, key).done == {}
    assert Journal(path, "k").done == {}  # and nothing of the old key comes back


def test_parts_of_a_fresh_and_a_resumed_run_are_the_same_objects(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", "k")
    journal.finished(0, {"pair": (1, 2), "by_id": {3: "x"}, "x": 0.1 + 0.2}, USAGE)
    journal.close()
    assert (
        journal.done
        == Journal(tmp_path / "j.jsonl", "k").done
        == {0: {"pair": [1, 2], "by_id": {"3": "x"}, "x": 0.1 + 0.2}}
    )


def test_a_failure_is_told_and_its_block_stays_to_be_done(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path, "k")
    journal.failed(5, "ValueError: no", "Traceback …")
    journal.close()
    assert Journal(path, "k").done == {}
    assert json.loads(path.read_text().splitlines()[1]) == {
        "block": 5,
        "error": "ValueError: no",
        "trace": "Traceback …",
    }


def test_a_part_that_is_not_json_is_refused(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", "k")
    with pytest.raises(ValueError, match="JSON"):
        journal.finished(0, {"mean": float("nan")}, USAGE)
