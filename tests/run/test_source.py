import subprocess

from run import source


def test_a_copy_differs_in_nothing_but_what_was_changed(tmp_path, monkeypatch):
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    for file in ("src/model.py", "src/.model.py.swp", "src/outputs/x.py", "src/__pycache__/model.pyc", "config/a.yaml"):
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        (repository / file).write_text("1")
    monkeypatch.setattr(source, "REPOSITORY", repository)
    source.copy_source(copy)
    assert sorted(path.name for path in copy.rglob("*") if path.is_file()) == ["a.yaml", "model.py"]
    assert source.source_differences(copy) == []
    (repository / "src" / "model.py").write_text("2")
    (repository / "src" / "new.py").touch()
    (repository / "config" / "a.yaml").unlink()
    assert source.source_differences(copy) == ["config/a.yaml", "src/model.py", "src/new.py"]
    assert source.source_differences(copy, "config") == ["config/a.yaml"]


def test_the_commit_is_that_of_the_code_that_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "REPOSITORY", tmp_path)
    assert source.git_state() is None
    (tmp_path / ".gitignore").write_text("/outputs/\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    state = source.git_state()
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / ".gitignore").write_text("/outputs/\n/multirun/\n")
    assert source.git_state()["dirty"]
    (tmp_path / "outputs" / "source").mkdir(parents=True)  # where rerun.py runs
    monkeypatch.setattr(source, "REPOSITORY", tmp_path / "outputs" / "source")
    assert source.git_state() is None
