import pytest
from runs import REPOSITORY

from process.errors import UserError
from scaffold.project_name import EXAMPLE, ProjectName, renamer

OLD = ProjectName("FrogLegs", "frog_legs")
TEXT = """FrogLegs' image frog_legs and frog-legs: FROG_LEGS_IMAGE "\\nFROG_LEGS_IMAGE" frog_legs_test FrogLegsは
but frog legs, frog_leg, bullfrog_legs, FROGLEGS and f{frog_legs}"""


def test_each_form_becomes_the_same_form():
    assert renamer(OLD, ProjectName("BigToes", "big_toes"))(TEXT) == (
        """BigToes' image big_toes and big-toes: BIG_TOES_IMAGE "\\nBIG_TOES_IMAGE" big_toes_test BigToesは
but frog legs, frog_leg, bullfrog_legs, FROGLEGS and f{big_toes}"""
    )


def test_a_name_of_one_word_comes_back_where_its_forms_are_the_same():
    toes = renamer(OLD, ProjectName("Toes", "toes"))("FrogLegs frog_legs FROG_LEGS")
    assert toes == "Toes toes TOES"
    assert renamer(ProjectName("Toes", "toes"), OLD)(toes) == "FrogLegs frog_legs FROG_LEGS"


def test_a_variable_of_a_name_in_capitals_stays_one():
    x1 = renamer(OLD, ProjectName("X1", "x1"))("FrogLegs FROG_LEGS_IMAGE frog_legs")
    assert x1 == "X1 X1_IMAGE x1"
    assert renamer(ProjectName("X1", "x1"), OLD)(x1) == "FrogLegs FROG_LEGS_IMAGE frog_legs"


def test_a_project_of_the_name_shown_by_example_shows_that_of_this_instead():
    example = ProjectName.typed(EXAMPLE)
    taken = renamer(OLD, example)(f"FrogLegs: new_project.py {EXAMPLE}, frog_legs, {example.snake}")
    assert taken == f"{EXAMPLE}: new_project.py FrogLegs, {example.snake}, frog_legs"


@pytest.mark.parametrize(
    ("typed", "camel", "snake"),
    [
        ("BigToes", "BigToes", "big_toes"),
        ("big_toes", "BigToes", "big_toes"),
        ("big-toes", "BigToes", "big_toes"),
        ("bigToes2", "BigToes2", "big_toes2"),
        ("CNNToes", "CNNToes", "cnn_toes"),
        ("toes", "Toes", "toes"),
        ("Big_Toes-9", "BigToes9", "big_toes_9"),
    ],
)
def test_any_form_may_be_typed(typed, camel, snake):
    assert ProjectName.typed(typed) == ProjectName(camel, snake)


@pytest.mark.parametrize(
    "typed",
    ["", "a", "9toes", "big toes", "つま先", "big__toes", "_toes", "toes-", "toes.py", "a" * 41, "AbCd" * 9, "lambda"],
)
def test_what_is_no_name_is_refused_with_the_rule(typed):
    with pytest.raises(UserError, match=r"is not a name: 2 to 40 letters .* such as |is a keyword of Python"):
        ProjectName.typed(typed)


def test_the_name_of_this_repository_is_read():
    name = ProjectName.of(REPOSITORY)
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8").startswith(f"# {name.camel}\n")
    assert (REPOSITORY / "config" / "hydra" / "job_logging" / f"{name.snake}.yaml").is_file()


def test_a_part_of_a_repository_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a complete repository"):
        ProjectName.of(tmp_path)
