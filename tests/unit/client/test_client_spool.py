import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client.spool import Spool


def steps(spool):
    return [record["step"] for _, record in spool.pending()]


def filled(path, count):
    spool = Spool(path)
    for step in range(count):
        spool.append({"step": step})
    return spool


def test_records_come_back_in_order_and_the_file_is_emptied_once_all_are_answered(tmp_path):
    spool = filled(tmp_path / "spool.jsonl", 5)
    for position, _ in list(spool.pending())[:3]:
        spool.advance(position)
    assert steps(spool) == steps(Spool(spool.path)) == [3, 4]
    for position, _ in list(spool.pending()):
        spool.advance(position)
    assert spool.is_empty()
    assert spool.path.stat().st_size == 0
    spool.append({"step": 9})
    assert steps(spool) == steps(Spool(spool.path)) == [9]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["append", "answer", "reopen"]), max_size=40))
def test_whatever_happens_nothing_is_lost_or_repeated(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("spool") / "spool.jsonl"
    spool, appended, answered = Spool(path), 0, []
    for event in events:
        if event == "append":
            spool.append({"step": appended, "text": "å" * appended})
            appended += 1
        elif event == "reopen":
            spool.close()
            spool = Spool(path)
        else:
            for position, record in spool.pending():
                answered.append(record["step"])
                spool.advance(position)
                break
    assert answered + steps(spool) == list(range(appended))
    assert spool.is_empty() == (len(answered) == appended)
    spool.close()


def test_what_is_appended_after_emptying_is_not_read_from_its_middle(tmp_path):
    spool = filled(tmp_path / "spool.jsonl", 1)
    pending = spool.pending()
    spool.advance(next(pending)[0])
    for step in (10, 11, 12):
        spool.append({"step": step})
    assert list(pending) == []
    assert steps(spool) == [10, 11, 12]


@pytest.mark.parametrize("tail", [b'{"step": 3', b"\x00\x00", b'{"step": 3}'])
def test_half_a_line_at_the_end_is_left_out(tmp_path, tail):
    path = tmp_path / "spool.jsonl"
    filled(path, 3).close()
    with path.open("ab") as file:
        file.write(tail)
    spool = Spool(path)
    assert steps(spool) == [0, 1, 2]
    spool.append({"step": 4})
    assert steps(spool) == [0, 1, 2, 4]


def test_a_damaged_line_does_not_hold_up_what_follows(tmp_path, caplog):
    path = tmp_path / "spool.jsonl"
    path.write_bytes(b'{"step": 0}\n\xff\xfe{\n[1]\n{"step": 1}\n')
    assert steps(Spool(path)) == [0, 1]
    assert caplog.text.count("damaged line") == 2


@pytest.mark.parametrize("cursor", ["999999", "-4", "", "x"])
def test_a_cursor_that_cannot_be_right_sends_all_again(tmp_path, cursor):
    path = tmp_path / "spool.jsonl"
    filled(path, 3).close()
    (tmp_path / "spool.jsonl.cursor").write_text(cursor)
    assert steps(Spool(path)) == [0, 1, 2]


def test_a_crash_between_emptying_and_the_cursor_loses_nothing(tmp_path):
    path = tmp_path / "spool.jsonl"
    spool = filled(path, 3)
    (first, _), *_ = spool.pending()
    spool.advance(first)
    os.truncate(path, 0)
    spool = Spool(path)
    assert spool.is_empty()
    spool.append({"step": 7})
    assert steps(Spool(path)) == [7]


def test_numbers_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Spool(tmp_path / "spool.jsonl").append({"loss": float("nan")})


KILLED_WHILE_SENDING = """
import json, os, signal, sys
from pathlib import Path
from mixwright_client.spool import Spool

folder, killed_at = Path(sys.argv[1]), int(sys.argv[2])
spool = Spool(folder / "spool.jsonl")
last = max([record["step"] for _, record in spool.pending()], default=-1)
for step in range(last + 1, 6):
    spool.append({"step": step})
for position, record in spool.pending():
    with open(folder / "server.jsonl", "a") as server:
        print(json.dumps(record), file=server, flush=True)
    if record["step"] == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    spool.advance(position)
"""


def test_a_process_killed_before_its_cursor_moved_sends_that_record_again(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(killed_at):
        command = [sys.executable, "-c", KILLED_WHILE_SENDING, str(tmp_path), str(killed_at)]
        return subprocess.run(command, env=environment, check=False).returncode

    assert run(2) == -signal.SIGKILL
    assert run(4) == -signal.SIGKILL
    assert run(-1) == 0
    lines = (tmp_path / "server.jsonl").read_text().splitlines()
    received = [json.loads(line)["step"] for line in lines]
    assert received == [0, 1, 2, 2, 3, 4, 4, 5]
    assert list(dict.fromkeys(received)) == list(range(6))
    assert (tmp_path / "spool.jsonl").stat().st_size == 0
