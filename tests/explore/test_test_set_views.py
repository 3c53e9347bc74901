import json
import os

from explore.opened_run import OpenedRun
from explore.test_set_views import recorded_accuracy


def test_what_evaluate_wrote_is_read(tmp_path):
    checkpoint, result = tmp_path / "run" / "checkpoints" / "best.ckpt", tmp_path / "run" / "evaluation.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    run = OpenedRun(tmp_path / "run", "", None, range(7), [])
    assert recorded_accuracy(run) == {}
    sizes = {"test_accuracy/n=4": 0.5, "test_accuracy/n=16": 0.75}
    facts = {"checkpoint": f"/before/it/moved/{checkpoint.relative_to(tmp_path)}", "images": 7, "sizes": sizes}

    def read(**others):
        result.write_text(json.dumps(facts | others))
        return recorded_accuracy(run)

    assert read() == {4: 0.5, 16: 0.75}
    assert read(checkpoint=str(checkpoint.with_name("last.ckpt"))) == {}
    assert read(images=8) == {}, "of other data"
    assert read() != {}
    later = result.stat().st_mtime + 1
    os.utime(checkpoint, (later, later))
    assert recorded_accuracy(run) == {}, "the run went on"
