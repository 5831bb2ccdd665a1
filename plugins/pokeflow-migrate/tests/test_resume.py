"""Test that the next run completes an interrupted or failed migration by copying the missing files."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.objects._folder import Folder
from pokeflow.project import receipts
from pokeflow.project.tree import Tree
from pokeflow_browse.verify import verify
from pokeflow_migrate import journal as journals
from pokeflow_migrate.journal import JournalEntry
from pokeflow_testkit.handmade import empty
from pokeflow_testkit.migrate_support import PLAN, old_project, run, state, tree_folder, write_plan
from pokeflow_testkit.support import TOY, contents, environment, unicode_names

KILLED = """
import os, signal, sys
from pathlib import Path
from pokeflow_migrate import plan, run
from pokeflow.objects._folder import Folder
from pokeflow_testkit.handmade import empty

root, moment, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
real = getattr(Folder, moment)
calls = 0
def dying(self, *args, **more):
    global calls
    calls += 1
    if calls > after:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *args, **more)
setattr(Folder, moment, dying)
run.migrate(plan.load(root / "plan.yaml"), root, empty(root), root / "store")
"""
FILES = 200


def bulk(root: Path) -> None:
    """Write an old project and a plan with many files."""
    old_project(root, data=FILES)
    write_plan(root, copy=[*PLAN["copy"], {"source": "old", "match": "data/raw/*", "to": "analytics/raw/"}], links={})


def complete(root: Path) -> Any:
    copy = [*PLAN["copy"], {"source": "old", "match": "data/raw/*", "to": "analytics/raw/"}]
    return run(root, copy=copy, links={})


def killed(root: Path, moment: str, after: int) -> None:
    path = str(TOY)
    command = [sys.executable, "-c", KILLED, str(root), moment, str(after)]
    ran = subprocess.run(
        command, env=environment() | {"PYTHONPATH": path}, capture_output=True, timeout=120, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the paths that are copied or written into the tree in this process."""
    paths: list[str] = []
    for name in ("copy", "write"):
        real: Callable[..., Any] = getattr(Folder, name)

        def counted(self: Folder, *args: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            paths.append(args[2] if name == "copy" else args[0])
            return real(self, *args, **more)

        monkeypatch.setattr(Folder, name, counted)
    return paths


def missing(root: Path, tree: Tree) -> set[str]:
    """Return the planned paths that are not in the tree yet."""
    file = root / "plan.yaml"
    assert file.exists()
    there = set(contents(tree_folder(tree))) if tree_folder(tree).exists() else set()
    return {path for path in json.loads((root / "all.json").read_text()) if path not in there}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a plan and the list of its target paths; return their folder."""
    bulk(tmp_path)
    copy = [*PLAN["copy"], {"source": "old", "match": "data/raw/*", "to": "analytics/raw/"}]
    would = run(tmp_path, copy=copy, links={}, dry_run=True)
    (tmp_path / "all.json").write_text(json.dumps([row.target for row in would.rows]))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "after"), [("copy", 0), ("copy", 120), ("_replace", 60)])
def test_killed_migration_resumes_with_missing_files_only(
    root: Path, copies: list[str], moment: str, after: int
) -> None:
    tree = empty(root)
    old = state(root / "old")
    killed(root, moment, after)
    assert receipts.read_all(tree.objects) == ()
    lacking = missing(root, tree)
    assert len(lacking) < len(json.loads((root / "all.json").read_text())) or after == 0
    outcome = complete(root)
    assert outcome.problems == []
    assert {path for path in copies if not path.startswith("metadata/")} == lacking
    assert Counter(path for path in copies if not path.startswith("metadata/")).most_common(1)[0][1] == 1
    assert missing(root, tree) == set()
    assert verify(tree).problems == ()
    assert state(root / "old") == old


@pytest.mark.slow
def test_kill_before_the_receipts_can_be_resumed(root: Path, copies: list[str]) -> None:
    killed(root, "write", 4)
    complete(root)
    assert verify(empty(root)).problems == ()


def test_truncated_line_of_the_journal_is_ignored(root: Path, copies: list[str]) -> None:
    killed(root, "copy", 120)
    file = root / "store/migrations/old/journal.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 40] + b'{"target": \xff')
    lacking = missing(root, empty(root))
    complete(root)
    assert {path for path in copies if not path.startswith("metadata/")} == lacking
    assert {*journals.read(file.parent).known} >= set(json.loads((root / "all.json").read_text()))


def test_invalid_journal_is_ignored(root: Path) -> None:
    file = root / "store/migrations/old/journal.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(os.urandom(1000) + b"\n[]\nnull\n{}\n")
    assert complete(root).problems == []


def test_journal_is_not_trusted_for_files_changed_since(tmp_path: Path) -> None:
    old_project(tmp_path)
    run(tmp_path)
    (tree_folder(empty(tmp_path)) / "profiling/teacher/sagemaker_profiler/system/cpu.json").write_bytes(b"[]")
    with pytest.raises(ConfigError, match="the file already exists with other bytes"):
        run(tmp_path)


def test_source_that_changed_after_migration_is_reported(tmp_path: Path) -> None:
    old_project(tmp_path)
    run(tmp_path)
    (tmp_path / "old/profiling/teacher/system/cpu.json").write_bytes(b"[]")
    with pytest.raises(ConfigError, match="migrations/old has published other bytes here"):
        run(tmp_path)


def test_concurrent_write_is_not_overwritten_but_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_project(tmp_path)
    tree, real = empty(tmp_path), Folder.copy
    path = "profiling/teacher/sagemaker_profiler/report.html"

    def overtaken(self: Folder, source: Any, source_key: str, key: str, **more: Any) -> str:
        if key == path:
            Folder.write(self, key, b"somebody's own", match=None)
        return real(self, source, source_key, key, **more)

    monkeypatch.setattr(Folder, "copy", overtaken)
    outcome = run(tmp_path, tree)
    assert [fault.path for fault in outcome.problems] == [path]
    assert [row.target for row in outcome.rows if row.done == "failed"] == [path]
    assert tree.objects.read(path)[0] == b"somebody's own"
    assert receipts.read_all(tree.objects) == ()
    tree.objects.delete(path)
    monkeypatch.undo()
    assert run(tmp_path, tree).problems == []


def test_damaged_copy_is_removed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_project(tmp_path)
    tree, real = empty(tmp_path), Folder.copy
    path = "profiling/teacher/sagemaker_profiler/report.html"

    def damaging(self: Folder, source: Any, source_key: str, key: str, **more: Any) -> str:
        if key != path:
            return real(self, source, source_key, key, **more)
        Folder.write(self, key, b"<htmx>", match=None)
        return "0" * 64

    monkeypatch.setattr(Folder, "copy", damaging)
    outcome = run(tmp_path, tree)
    assert "the copy is 000000000000…" in outcome.problems[0].message
    assert tree.objects.stat(path) is None


def test_migration_stops_when_every_copy_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> str:
        raise PokeflowError("the disk is full")

    monkeypatch.setattr(Folder, "copy", failing)
    with pytest.raises(PokeflowError, match="the disk is full"):
        complete(root)


def test_journal_keeps_entries_of_many_threads(tmp_path: Path) -> None:
    from pokeflow.objects._transfer import each

    journal = journals.read(tmp_path)
    lines = [JournalEntry(f"t{i}", f"o{i}", "e", "s", "x", i, "s") for i in range(500)]
    each(lambda done, _: journal.add(done), lines, label="journal", total=0)
    journal.close()
    assert sorted(journals.read(tmp_path).known) == sorted(done.target for done in lines)


@unicode_names
def test_unsafe_names_and_links_are_left_out(tmp_path: Path) -> None:
    old = old_project(tmp_path) / "profiling/teacher"
    (tmp_path / "secret").write_text("secret")
    (old / "leads_out").symlink_to(tmp_path / "secret")
    (old / "folder_out").symlink_to(tmp_path)
    os.mkfifo(old / "pipe")
    (old / "line\nbreak").write_text("x")
    (old / "back\\slash").write_text("x")
    Path(os.fsdecode(os.fsencode(old) + b"/\xff")).write_text("x")
    tree = empty(tmp_path)
    outcome = run(tmp_path, tree)
    reasons = {Path(path).name: why for path, why in outcome.left}
    assert reasons["leads_out"] == reasons["folder_out"] == "a link, which is not followed"
    assert reasons["pipe"] == "not a regular file"
    assert reasons["line\nbreak"] == reasons["back\\slash"] == "its name is not a valid key"
    assert reasons["\udcff"] == "its name is not a valid key"
    assert outcome.problems == []
    there = contents(tree_folder(tree))
    assert b"secret" not in there.values()
    assert all("\n" not in path and "\\" not in path for path in there)
